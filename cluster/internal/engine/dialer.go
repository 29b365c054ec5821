package engine

import (
	"context"
	"net"
	"sync"
	"time"
)

// handshake bounds how long one server may take to be reached and to greet, each. It
// holds for every attempt of a connection's life.
const handshake = 5 * time.Second

// dialer opens the sockets of one connection. While the first one is opened, the ctx
// of the start ends what is under way: nats.Connect takes none, and its time-out,
// nats.Timeout, would stay with the connection and bound every later attempt, too.
type dialer struct {
	mu    sync.Mutex
	ctx   context.Context // of the start; nil once it is over
	stops []func() bool   // of the sockets that ctx closes
}

// Dial is called by nats.go.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	d.mu.Lock()
	ctx := d.ctx
	d.mu.Unlock()
	starting := ctx != nil
	if !starting {
		ctx = context.Background()
	}
	limited, cancel := context.WithTimeout(ctx, handshake)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(limited, network, address)
	if err != nil || !starting {
		return c, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	// A close makes the handshake under way fail; nats.go closes the socket again.
	d.stops = append(d.stops, context.AfterFunc(ctx, func() { _ = c.Close() }))
	return c, nil
}

// started ends the hold of the start's ctx.
func (d *dialer) started() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ctx = nil
	for _, stop := range d.stops {
		stop()
	}
	d.stops = nil
}
