package engine

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"regexp"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/loopmesh/loopmesh/cluster/keys"
)

// How a connection is made, and how its events are handled. nats.go reconnects by
// itself and for ever (MaxReconnects −1), so after the start there is no error
// "cannot connect", only a state.
//
// Two failures are not returned by the call that fails. A publish that the server does
// not permit returns nil: the refusal comes later, to the error handler, with the
// subject in its text. A subscription that is read too slowly loses messages, and only
// the error handler is told. Both become events here, with which the parts of the node
// end what waits.

const closeWait = 500 * time.Millisecond // a dead server must not hold up a close

// open makes a link and connects it.
func (e *Engine) open(ctx context.Context, kind Kind) (*Link, error) {
	l := &Link{e: e, kind: kind}
	c, err := e.dial(ctx, l)
	if err != nil {
		return nil, err
	}
	close(c.ready)
	l.gate.Lock()
	defer l.gate.Unlock()
	l.conn = c
	return l, nil
}

// dial opens a connection for a link. Its messages wait for connection.ready, so that
// a link that is replaced handles those of the old connection first. When the error
// came from ctx, ctx's cause is in it.
func (e *Engine) dial(ctx context.Context, l *Link) (*connection, error) {
	c := &connection{ready: make(chan struct{}), closed: make(chan struct{})}
	sockets := &dialer{ctx: ctx}
	defer sockets.started()
	opts := append(e.identityOptions(l.kind), e.handlers(l, c)...)
	opts = append(opts, nats.SetCustomDialer(sockets), nats.Timeout(handshake))
	opts = append(opts, nats.MaxReconnects(-1), nats.CustomReconnectDelay(reconnectDelay), nats.IgnoreAuthErrorAbort())
	urls := e.cfg.servers()
	if s := e.inProcess(l.kind); s != nil {
		opts, urls = append(opts, nats.InProcessServer(s)), nil
	} else if s := e.shared(); s != nil {
		urls = []string{s.localURL()}
	}
	nc, err := nats.Connect(strings.Join(urls, ","), opts...)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", err, context.Cause(ctx))
	}
	if err != nil {
		return nil, connectError(urls, err)
	}
	c.nats = nc
	return c, nil
}

// inProcess is the embedded server when the link goes through memory. Why not bulk:
// a pipe in memory has no buffer, so a stream of bytes is slower through it than
// through a socket. With TLS it is the other way round.
func (e *Engine) inProcess(kind Kind) nats.InProcessConnProvider {
	s := e.shared()
	if s == nil || kind == Bulk && s.url() != "" && e.cfg.Keys == "" {
		return nil
	}
	if by, ok := e.live.Value(throughKey{}).(func(net.Conn) (net.Conn, error)); ok {
		return through{s.nats, by}
	}
	return s.nats
}

// identityOptions are what every connection of the node has: its name, the limits,
// and who it is. With keys, the functions read the identity at each connect, so a
// reconnect uses the keys of that moment.
func (e *Engine) identityOptions(kind Kind) []nats.Option {
	opts := []nats.Option{
		nats.Name(e.connectionName(kind)),
		nats.CustomInboxPrefix(e.Subjects.Inbox),
		// Why: the default keeps what was published while disconnected and sends
		// it later. A late call is worse than an error at once.
		nats.ReconnectBufSize(-1),
		nats.PingInterval(serverPing),
		nats.MaxPingsOutstanding(serverPings),
		// Why: a write holds the connection's lock, so while one stands still nothing is
		// sent, no ping either, and by default that lasts a minute.
		nats.FlusherTimeout(serverStall),
		nats.DrainTimeout(replaceWait),
	}
	cfg := &e.cfg
	switch {
	case cfg.Keys != "":
		opts = append(opts, nats.UserJWT(
			func() (string, error) { return e.identity().Statement, nil },
			func(nonce []byte) ([]byte, error) { return e.identity().Sign(nonce) },
		))
		if !e.local(kind) {
			opts = append(opts, nats.Secure(keys.ClientTLS(e.identity)))
		}
	case cfg.Credentials != "":
		opts = append(opts, nats.UserCredentials(cfg.Credentials))
	case cfg.NKey != "":
		opts = append(opts, func(o *nats.Options) error {
			nkey, err := nats.NkeyOptionFromSeed(cfg.NKey)
			if err != nil {
				return badConfig("NKey: %w", err)
			}
			return nkey(o)
		})
	case cfg.User != "":
		opts = append(opts, nats.UserInfo(cfg.User, cfg.Password))
	}
	if cfg.TLS != nil && !e.local(kind) {
		opts = append(opts, nats.Secure(withMinimum(cfg.TLS)))
	}
	return opts
}

// serverStall: a server that takes no byte for so long is cut off, as one that says
// nothing is.
const serverStall = serverPing * serverPings

// local: through memory, where TLS would encrypt for nobody.
func (e *Engine) local(kind Kind) bool { return e.inProcess(kind) != nil }

// withMinimum raises the version of a user's TLS settings; their own minimum stays
// when it is higher.
func withMinimum(c *tls.Config) *tls.Config {
	c = c.Clone()
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	return c
}

// connectionName is what the server calls the connection in its notices. The node
// lives as long as its control connection: only that one has the plain name.
func (e *Engine) connectionName(kind Kind) string {
	name := fmt.Sprintf("%s#%x", e.cfg.Node, e.cfg.Number)
	if kind == Control {
		return name
	}
	return name + "/" + string(kind)
}

// reconnectDelay is how long to wait after all servers were tried in vain. Why
// random: after an outage all nodes come back at once.
func reconnectDelay(attempts int) time.Duration {
	d := min(reconnectFirst<<min(attempts, 10), reconnectMost)
	return d/2 + rand.N(d/2)
}

// connectError says what to do about a first connection that failed. Of several
// servers nats.go tells about the last one it tried.
func connectError(tried []string, err error) error {
	urls := withoutPasswords(tried)
	if len(tried) > 1 {
		urls = "any of " + urls
	}
	var op *net.OpError
	silent := errors.As(err, &op) && op.Timeout() && op.Op != "dial"
	switch text := err.Error(); {
	case refused(err):
		return fmt.Errorf("%w: %s: %w; are the keys of this cluster, not revoked and not expired?", ErrDenied, urls, err)
	case strings.Contains(text, "tls:"), strings.Contains(text, "x509:"), errors.Is(err, nats.ErrTLS):
		return fmt.Errorf("%w: %s: %w; check both certificates: of this cluster, not expired, made for that host", ErrDenied, urls, err)
	case errors.Is(err, nats.ErrSecureConnRequired), errors.Is(err, nats.ErrSecureConnWanted):
		return fmt.Errorf("%w: %s: %w; one side uses TLS and keys and the other does not", ErrDenied, urls, err)
	}
	switch {
	case errors.Is(err, nats.ErrNoServers):
		return fmt.Errorf("%w: nobody listens at %s: connection refused (%w); is it running, and is that its address?", ErrDisconnected, urls, err)
	case silent:
		return fmt.Errorf("%w: %s took the connection and did not greet within %v, as a NATS server does at once (%w); is that the port where nodes join?", ErrDisconnected, urls, handshake, err)
	case errors.Is(err, nats.ErrNoInfoReceived), errors.Is(err, io.EOF):
		return fmt.Errorf("%w: what listens at %s is no NATS server (%w); is that the port where nodes join?", ErrDisconnected, urls, err)
	}
	return fmt.Errorf("%w: connecting to %s: %w; is it running, and may this node use it?", ErrDisconnected, urls, err)
}

// refused reports whether the server does not accept the node's keys. Each has its
// own cause (wrong, expired, revoked), and all have one remedy: other keys.
func refused(err error) bool {
	return errors.Is(err, nats.ErrAuthorization) || errors.Is(err, nats.ErrAuthExpired) || errors.Is(err, nats.ErrAuthRevoked)
}

// handlers tell every event of a connection. What a connection says that has been
// replaced is dropped: it is expected to end.
func (e *Engine) handlers(l *Link, c *connection) []nats.Option {
	mine := func() bool { now := l.current(); return now == nil || now == c }
	return []nats.Option{
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if mine() && !e.closing.Load() {
				e.lost(l.kind, err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			if mine() {
				e.back(l.kind, nc)
			}
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) {
			if e.quiet.reconnect.allow(time.Now()) {
				e.log.Warn("reconnecting to NATS failed; it goes on trying", "connection", l.kind, "error", err)
			}
		}),
		nats.ClosedHandler(func(*nats.Conn) { close(c.closed) }),
		nats.LameDuckModeHandler(func(*nats.Conn) { e.log.Info("the NATS server is shutting down; moving to another one") }),
		nats.DiscoveredServersHandler(func(nc *nats.Conn) { e.log.Debug("NATS servers discovered", "urls", nc.DiscoveredServers()) }),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) { e.connectionError(l.kind, sub, err) }),
	}
}

// deniedSubject finds the subject in the text of a permission error, the only place
// where it stands.
var deniedSubject = regexp.MustCompile(`"(\S+)"`)

// connectionError handles what NATS says outside of any call. A refused publish is
// known from here only: Publish returned nil long before. The refusal of Notices is
// no fault: an external NATS may keep them to itself, and deaths are then found by
// asking.
func (e *Engine) connectionError(kind Kind, sub *nats.Subscription, err error) {
	subject := ""
	if sub != nil {
		subject = sub.Subject
	}
	hint := ""
	switch {
	case refused(err):
		hint = "are the keys of this node revoked or expired? It goes on trying, also with new keys in its folder"
	case errors.Is(err, nats.ErrPermissionViolation):
		if m := deniedSubject.FindStringSubmatch(err.Error()); m != nil {
			subject = m[1]
		}
		if kind == Notices {
			e.log.Debug("NATS does not let this node hear who goes", "error", err)
			return
		}
		if e.cfg.Events.Denied != nil {
			e.cfg.Events.Denied(subject)
		}
	case errors.Is(err, nats.ErrSlowConsumer):
		if e.cfg.Events.Slow != nil {
			e.cfg.Events.Slow(subject)
		}
	}
	if e.quiet.errors.allow(time.Now()) {
		e.log.Error("NATS reports an error", "connection", kind, "error", err, "subject", subject, "hint", hint)
	}
}
