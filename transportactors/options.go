package transportactors

import (
	"context"
	"fmt"

	"github.com/loopmesh/loopmesh/internal/coro"
	"github.com/loopmesh/loopmesh/loopnode"
)

// Option changes how a connection or a server is made.
type Option func(*options)

type options struct {
	local        string
	backlog      int
	reuseAddress bool
	reusePort    bool
	keepAlive    bool
	bindOnly     bool
	limit        int
}

func collect(opts []Option) (options, error) {
	o := options{backlog: 100, reuseAddress: true, limit: 64 << 10}
	for _, opt := range opts {
		opt(&o)
	}
	switch {
	case o.backlog < 0:
		return o, invalid("the backlog %d is negative", o.backlog)
	case o.limit <= 0:
		return o, invalid("the stream limit %d must be positive", o.limit)
	}
	return o, nil
}

// WithLocalAddress binds a client's socket to address ("host:port", port 0 for
// any) before it connects. asyncio: local_addr.
func WithLocalAddress(address string) Option { return func(o *options) { o.local = address } }

// WithBacklog says how many clients the kernel may hold before they are
// accepted, and how many are accepted in one turn. Default 100.
func WithBacklog(n int) Option { return func(o *options) { o.backlog = n } }

// WithReuseAddress sets SO_REUSEADDR on listening sockets; on by default.
func WithReuseAddress(on bool) Option { return func(o *options) { o.reuseAddress = on } }

// WithReusePort sets SO_REUSEPORT on listening sockets.
func WithReusePort(on bool) Option { return func(o *options) { o.reusePort = on } }

// WithKeepAlive sets SO_KEEPALIVE on listening sockets and so on their connections.
func WithKeepAlive(on bool) Option { return func(o *options) { o.keepAlive = on } }

// WithStartServing(false) makes a server that is bound but refuses clients
// until StartServing or ServeForever. asyncio: start_serving.
func WithStartServing(on bool) Option { return func(o *options) { o.bindOnly = !on } }

// WithLimit is how many unread bytes a Stream holds before it stops reading;
// it holds at most twice that and one read. Default 64 KiB.
func WithLimit(bytes int) Option { return func(o *options) { o.limit = bytes } }

// home is the loop of ctx, which the caller must be on.
func home(ctx context.Context) (*loopnode.Loop, error) {
	l, err := loopnode.Running(ctx)
	switch {
	case err != nil:
		return nil, err
	case !coro.Marked():
		return nil, fmt.Errorf("%w: create connections and servers in a task of loop %s", loopnode.ErrWrongGoroutine, l.Name())
	}
	return l, nil
}
