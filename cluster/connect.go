package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/loopmesh/loopmesh/internal/wire"
)

const (
	frameOverhead = wire.Overhead
	natsPing      = 2 * time.Second // a stopped client is cut after natsPing*(natsPings+1)
	natsPings     = 2
	reconnectWait = 250 * time.Millisecond
	pendingFrames = 1 << 19   // of one subscription, before NATS drops
	pendingBytes  = 256 << 20 // likewise
)

// connect opens the node's connection. Every event of it is logged and counted.
func (n *Node) connect(ctx context.Context) error {
	opts := []nats.Option{
		nats.Name(n.connectionName()),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectWait/2, reconnectWait/2),
		// Why: the default keeps what was published while disconnected and sends
		// it later. A late call is worse than an error at once.
		nats.ReconnectBufSize(-1),
		nats.PingInterval(natsPing),
		nats.DrainTimeout(farewellFlush), // a dead server must not hold up a close
		nats.MaxPingsOutstanding(natsPings),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { n.disconnected(err) }),
		nats.ReconnectHandler(func(*nats.Conn) { n.reconnected() }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { n.log.Debug("reconnecting to NATS failed", "error", err) }),
		nats.ClosedHandler(func(*nats.Conn) { close(n.connClosed) }),
		nats.LameDuckModeHandler(func(*nats.Conn) { n.log.Info("the NATS server is shutting down; moving to another one") }),
		nats.DiscoveredServersHandler(func(c *nats.Conn) { n.log.Debug("NATS servers discovered", "urls", c.DiscoveredServers()) }),
		nats.ErrorHandler(n.connectionError),
	}
	if at, ok := ctx.Deadline(); ok {
		opts = append(opts, nats.Timeout(max(time.Until(at), time.Millisecond)))
	}
	if n.cfg.Credentials != "" {
		opts = append(opts, nats.UserCredentials(n.cfg.Credentials))
	}
	if s := n.sharedServer(); s != nil {
		n.notices.Store(true)
		opts = append(opts, nats.InProcessServer(s.server))
	}
	url := n.cfg.urls()
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		return fmt.Errorf("%w: connecting to %s: %w; is it running, and may this node use it?", ErrDisconnected, withoutPasswords(url), err)
	}
	n.nc = nc
	return n.checkServerLimit()
}

// checkServerLimit: NATS cuts the connection of a client that sends more than
// the server takes, so a limit above the server's is refused at start.
func (n *Node) checkServerLimit() error {
	if most := n.nc.MaxPayload(); int64(n.cfg.MaxPayload) > most {
		return badConfig("MaxPayload is %d but the NATS server takes messages of %d: lower it or raise max_payload there", n.cfg.MaxPayload, most)
	}
	n.maxFrame = int(n.nc.MaxPayload())
	return nil
}

// sharedServer is the embedded server to reach through memory.
func (n *Node) sharedServer() *embedded {
	if n.cfg.Beside != nil {
		return n.cfg.Beside.sharedServer()
	}
	return n.server
}

// disconnected fails what is under way at once: nats.go would let it run into
// its timeout.
func (n *Node) disconnected(err error) {
	if n.closing.Load() {
		return
	}
	n.log.Warn("connection to NATS lost", "error", err)
	n.offline.Store(true)
	n.notices.Store(n.sharedServer() != nil) // the next server may be of another kind
	n.stats.disconnects.Add(1)
	newest := n.pending.failAll(func(p *pending) error {
		return p.failure(ErrDisconnected, "the connection was lost while waiting; it may have run")
	})
	n.members.gaveUpAll(newest)
}

func (n *Node) reconnected() {
	n.log.Info("connected to NATS again", "url", n.nc.ConnectedUrlRedacted())
	n.stats.reconnects.Add(1)
	n.members.forgive(time.Now(), n.cfg.DeadAfter)
	n.offline.Store(false)
	n.broadcast(&wire.Frame{Kind: wire.Hello})
	for name, newest := range n.members.takeGivenUp() {
		n.cancelCalls(name, newest)
	}
	n.watches.again()
	n.kick()
}

func (n *Node) connectionError(_ *nats.Conn, sub *nats.Subscription, err error) {
	subject := ""
	if sub != nil {
		subject = sub.Subject
	}
	switch {
	case errors.Is(err, nats.ErrSlowConsumer):
		n.stats.slow.Add(1)
	case errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), noticesOfAll):
		n.log.Debug("NATS does not let this node hear who goes; it asks others instead", "error", err)
		return
	}
	if ok, more := n.quiet.nats.allow(time.Now().UnixNano()); ok {
		n.log.Error("NATS reports an error", "error", err, "subject", subject, "kept_back", more)
	}
}

// send publishes f. It does not wait. reply may be "".
// What was posted to the same node before is sent before.
func (n *Node) send(subject, reply string, f *wire.Frame) error {
	n.outboxes.settle(n, subject)
	buf := frames.Get().(*[]byte)
	defer frames.Put(buf)
	*buf = f.Append((*buf)[:0])
	if len(*buf) > n.maxFrame {
		return codef(wire.TooLarge, "%w: frame of %d bytes, the NATS server takes %d", ErrTooLarge, len(*buf), n.maxFrame)
	}
	var err error
	if reply == "" {
		err = n.nc.Publish(subject, *buf)
	} else {
		err = n.nc.PublishRequest(subject, reply, *buf)
	}
	if err != nil {
		n.stats.sendErrors.Add(1)
		return sendError(err)
	}
	n.stats.framesOut.Add(1)
	return nil
}

func sendError(err error) error {
	switch {
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionDraining):
		return fmt.Errorf("%w: the node has been closed", ErrClosed)
	case errors.Is(err, nats.ErrMaxPayload):
		return codef(wire.TooLarge, "%w: %w", ErrTooLarge, err)
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionReconnecting), errors.Is(err, nats.ErrDisconnected):
		return fmt.Errorf("%w: nothing was sent; try again when it is back", ErrDisconnected)
	}
	return fmt.Errorf("publishing: %w", err)
}

// answer is send where nobody is left to tell about a failure.
func (n *Node) answer(subject string, f *wire.Frame) {
	if err := n.send(subject, "", f); err != nil && !n.closing.Load() {
		if ok, more := n.quiet.answers.allow(time.Now().UnixNano()); ok {
			n.log.Warn("an answer could not be sent", "kind", f.Kind, "error", err, "kept_back", more)
		}
	}
}

func (n *Node) broadcast(f *wire.Frame) {
	f.From, f.FromNumber = n.name, n.number
	n.answer(n.subjects.members, f)
}
