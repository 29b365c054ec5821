package transportactors

import (
	"fmt"
	"time"

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
	bounds       bounds
	tls          tlsOptions
	socket       int  // -1: none given
	given        bool // WithSocket was used
	addresses    []string
	loops        []*loopnode.Loop
	remote       []loopnode.Ref // loops given that are not here
	delay        time.Duration
	interleave   int // -1: not given
	allErrors    bool
	broadcast    bool
	file         fileOptions
	noFallback   bool
}

func collect(opts []Option) (options, error) {
	o := options{backlog: 100, reuseAddress: true, limit: defaultStreamLimit, socket: -1, interleave: -1, file: fileOptions{cleanup: true}}
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	switch {
	case o.given && o.socket < 0:
		return o, invalid("WithSocket: descriptor %d is negative", o.socket)
	case o.backlog < 0:
		return o, invalid("the backlog %d is negative", o.backlog)
	case o.limit <= 0:
		return o, invalid("the stream limit %d must be positive", o.limit)
	case len(o.remote) > 0:
		return o, fmt.Errorf("%w: loop %s: connections live on loops of this process", loopnode.ErrNotLocal, o.remote[0])
	case o.delay < 0:
		return o, invalid("the happy eyeballs delay %v is negative", o.delay)
	}
	return o, o.bounds.check()
}

// alone tells whether a given socket is all that was given.
func (o *options) alone(network, address string) error {
	if network != "" || address != "" || o.local != "" || len(o.addresses) > 0 {
		return invalid("WithSocket and an address (%q %q, local %q) cannot be given together", network, address, o.local)
	}
	return nil
}

// WithSocket takes a descriptor in place of network and address, which are
// empty then: a connected stream socket for a client, one that is bound for a
// server. It becomes the transport's or server's, which closes it, unless the
// call fails with loopnode.ErrInvalidArgument. asyncio: sock=.
func WithSocket(fd int) Option { return func(o *options) { o.socket, o.given = fd, true } }

// WithAddresses makes a server listen on more addresses than one. Repetitions
// count once. asyncio: a sequence of hosts.
func WithAddresses(more ...string) Option {
	return func(o *options) { o.addresses = append(o.addresses, more...) }
}

// WithLoops spreads a server's connections over loops in turn; a loop named
// twice gets twice as many. A connection's factory call, protocol and transport
// belong to its loop, so factory runs on several goroutines. The server's own
// loop accepts and gets none unless it is named. CreateServer waits until each
// of them runs.
func WithLoops(loops ...loopnode.Ref) Option {
	return func(o *options) {
		for _, r := range loops {
			if l, here := r.Local(); here {
				o.loops = append(o.loops, l)
			} else {
				o.remote = append(o.remote, r)
			}
		}
	}
}

// WithHappyEyeballs makes a client try the next address when the one before has
// failed or has not answered for delay; the first that answers wins. 250 ms is
// usual (RFC 8305). Addresses alternate between the families then, unless
// WithInterleave says otherwise. Default 0: one after the other.
// asyncio: happy_eyeballs_delay.
func WithHappyEyeballs(delay time.Duration) Option { return func(o *options) { o.delay = delay } }

// WithInterleave mixes the families of a client's addresses: n of the first
// family, then one of each in turn; 0 leaves the resolver's order.
// asyncio: interleave.
func WithInterleave(n int) Option { return func(o *options) { o.interleave = max(n, 0) } }

// WithAllErrors makes a failed connect return the errors of all attempts, also
// of one: the error has Unwrap() []error. asyncio: all_errors.
func WithAllErrors() Option { return func(o *options) { o.allErrors = true } }

// WithLocalAddress binds a client's socket to address ("host:port", port 0 for
// any) before it connects. asyncio: local_addr.
func WithLocalAddress(address string) Option { return func(o *options) { o.local = address } }

// WithBacklog says how many clients the kernel may hold before they are
// accepted, and how many are accepted in one turn. The kernel and the loop have
// bounds of their own below a large n. Default 100.
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
