package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// What is checked once a server answers: that it is new enough, and that several
// addresses are of one cluster. The second is worth a test at each start, because
// nothing else would show it: with two separate servers each half of the nodes works
// perfectly and never sees the other.

// Servers before this one have known holes, or lack what a node uses.
const oldestServer = "2.12.6"

// checkServer refuses a server that is too old. An embedded one is not.
func (e *Engine) checkServer() error {
	nc := e.control.current().nats
	e.mu.Lock()
	e.cluster = nc.ConnectedClusterName()
	e.mu.Unlock()
	if v := nc.ConnectedServerVersion(); older(v, oldestServer) {
		return fmt.Errorf("%w: %s has version %s, a node needs %s or newer", ErrTooOld, e.control.Server(), v, oldestServer)
	}
	return nil
}

// older compares versions of the form 2.12.6 number by number; what comes behind a -
// does not count.
func older(have, want string) bool {
	read := func(s string) (out [3]int) {
		s, _, _ = strings.Cut(s, "-")
		_, _ = fmt.Sscanf(s, "%d.%d.%d", &out[0], &out[1], &out[2]) // what is missing is 0
		return out
	}
	a, b := read(have), read(want)
	return slices.Compare(a[:], b[:]) < 0
}

// checkCluster complains when the connection went to a server of another cluster: one
// of several addresses that could not be reached at the start.
func (e *Engine) checkCluster(nc *nats.Conn) {
	e.mu.Lock()
	first := e.cluster
	e.mu.Unlock()
	if now := nc.ConnectedClusterName(); now != first {
		e.log.Error("this node was moved to a server of another cluster: its addresses belong to servers that are not connected",
			"was", first, "is", now, "url", nc.ConnectedUrlRedacted())
	}
}

// checkTogether refuses several addresses whose servers are not connected to each
// other: of the nodes that join them each would find only those that happened to
// take the same one. Servers that cannot be reached now are left out.
func (e *Engine) checkTogether(ctx context.Context) error {
	list := e.cfg.servers()
	if len(list) < 2 {
		return nil
	}
	conns := e.connectEach(ctx, list)
	defer func() {
		for _, nc := range conns {
			if nc != nil {
				nc.Close()
			}
		}
	}()
	first := slices.IndexFunc(conns, func(nc *nats.Conn) bool { return nc != nil })
	if first < 0 {
		return nil // connecting says why
	}
	for i, nc := range conns {
		if nc == nil || nc.ConnectedServerId() == conns[first].ConnectedServerId() {
			continue
		}
		if err := e.meetsAcross(ctx, conns[first], nc); err != nil {
			return fmt.Errorf("%w: what is published at %s does not arrive at %s: start them as voters of one cluster (--voter --routes), or join only one (%w)",
				ErrSeparate, withoutPasswords(list[i:i+1]), withoutPasswords(list[first:first+1]), err)
		}
	}
	return nil
}

// probeWait bounds a connection, and the way from one server to another. Servers
// tell each other of a subscription within milliseconds.
const probeWait = 2 * time.Second

// connectEach connects to every address by itself; nil for those that fail. No
// reconnects and no discovered servers: each connection is to answer for exactly its
// address.
func (e *Engine) connectEach(ctx context.Context, list []string) []*nats.Conn {
	out := make([]*nats.Conn, len(list))
	var all sync.WaitGroup
	for i, url := range list {
		// goroutine: owner: connectEach; ends when the address answers, or after probeWait
		all.Go(func() {
			sockets := &dialer{ctx: ctx}
			defer sockets.started()
			opts := append(e.identityOptions("probe"), nats.NoReconnect(), nats.IgnoreDiscoveredServers(), nats.Timeout(probeWait), nats.SetCustomDialer(sockets))
			nc, err := nats.Connect(url, opts...)
			if err != nil {
				e.log.Warn("an address could not be reached; the others are used", "address", withoutPasswords([]string{url}), "error", err)
				return
			}
			out[i] = nc
		})
	}
	all.Wait()
	return out
}

// meetsAcross publishes at one server until it arrives at the other. Repeated,
// because servers tell each other of a new subscription a moment after it is
// confirmed.
func (e *Engine) meetsAcross(ctx context.Context, to, from *nats.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, probeWait)
	defer cancel()
	subject := e.Subjects.Inbox + "." + nats.NewInbox()[len(nats.InboxPrefix):]
	arrived := make(chan *nats.Msg, 1)
	sub, err := to.ChanSubscribe(subject, arrived)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }() // its connection is closed anyway
	if err := to.FlushWithContext(ctx); err != nil {
		return err
	}
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		if err := from.Publish(subject, nil); err != nil {
			return err
		}
		select {
		case <-arrived:
			return nil
		case <-again.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
