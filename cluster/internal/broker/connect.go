package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nats.go"

	"github.com/loopmesh/loopmesh/cluster/internal/fault"
)

const (
	natsPing      = 2 * time.Second // a stopped client is cut after natsPing*(natsPings+1)
	natsPings     = 2
	reconnectWait = 250 * time.Millisecond
	// DrainLimit bounds how long a close waits for a server that does not answer.
	DrainLimit = 500 * time.Millisecond
)

// ConnConfig is what a connection needs to know.
type ConnConfig struct {
	Name        string  // what the server calls it
	URL         string  // one or several, between commas
	Credentials string  // a file; "": none
	Server      *Server // of this process, to reach through memory; nil: by URL
	Log         hclog.Logger

	Disconnected func(error)
	Reconnected  func()
	Closed       func() // for good
	Failed       func(sub *nats.Subscription, err error)
}

// Connect opens a connection. It reconnects by itself until it is closed.
func Connect(ctx context.Context, c ConnConfig) (*nats.Conn, error) {
	opts := []nats.Option{
		nats.Name(c.Name),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectWait/2, reconnectWait/2),
		// Why: the default keeps what was published while disconnected and sends
		// it later. A late call is worse than an error at once.
		nats.ReconnectBufSize(-1),
		nats.PingInterval(natsPing),
		nats.DrainTimeout(DrainLimit),
		nats.MaxPingsOutstanding(natsPings),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { c.Disconnected(err) }),
		nats.ReconnectHandler(func(*nats.Conn) { c.Reconnected() }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { c.Log.Debug("reconnecting to NATS failed", "error", err) }),
		nats.ClosedHandler(func(*nats.Conn) { c.Closed() }),
		nats.LameDuckModeHandler(func(*nats.Conn) { c.Log.Info("the NATS server is shutting down; moving to another one") }),
		nats.DiscoveredServersHandler(func(nc *nats.Conn) { c.Log.Debug("NATS servers discovered", "urls", nc.DiscoveredServers()) }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) { c.Failed(sub, err) }),
	}
	if at, ok := ctx.Deadline(); ok {
		opts = append(opts, nats.Timeout(max(time.Until(at), time.Millisecond)))
	}
	if c.Credentials != "" {
		opts = append(opts, nats.UserCredentials(c.Credentials))
	}
	if c.Server != nil {
		opts = append(opts, c.Server.Option())
	}
	nc, err := nats.Connect(c.URL, opts...)
	if err != nil {
		return nil, fmt.Errorf("%w: connecting to %s: %w; is it running, and may this node use it?", fault.ErrDisconnected, WithoutPasswords(c.URL), err)
	}
	return nc, nil
}

// NoticesRefused reports whether an error of a connection says that it may not
// subscribe Notices.
func NoticesRefused(err error) bool {
	return errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), Notices)
}

// Option makes a client of this process reach the server through memory.
func (e *Server) Option() nats.Option { return nats.InProcessServer(e.server) }
