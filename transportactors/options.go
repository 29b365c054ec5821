package transportactors

import (
	"fmt"
	"slices"
	"time"

	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/loopnode"
)

// The options of a call have the interface type of that call, so that an option
// which does not apply does not compile. The result type of an option names the
// calls that take it.
type (
	// ConnectOption is for CreateConnection, CreateUnixConnection, OpenConnection
	// and OpenUnixConnection.
	ConnectOption interface {
		set(*options)
		forConnect()
	}
	// ServerOption is for CreateServer, CreateUnixServer, StartServer and
	// StartUnixServer.
	ServerOption interface {
		set(*options)
		forServer()
	}
	// ConnOption is about a connection, whoever began it: it is for
	// ConnectAcceptedSocket and for all calls of ConnectOption and ServerOption.
	ConnOption interface {
		ConnectOption
		ServerOption
		forConn()
	}
	// DatagramOption is for CreateDatagramEndpoint.
	DatagramOption interface {
		set(*options)
		forDatagram()
	}
	// StartTLSOption is for StartTLS and Stream.StartTLS.
	StartTLSOption interface {
		set(*options)
		forStartTLS()
	}
)

// option is every option. It is for all calls; what a caller of WithTLS and so
// on gets is one of the interfaces above.
type option func(*options)

func (o option) set(to *options) { o(to) }
func (option) forConnect()       {}
func (option) forServer()        {}
func (option) forConn()          {}
func (option) forDatagram()      {}
func (option) forStartTLS()      {}

type options struct {
	local        string
	backlog      int
	reuseAddress bool
	reusePort    bool
	keepAlive    bool
	bindOnly     bool
	limit        int  // of a stream
	limited      bool // WithLimit was used
	stream       bool // the call makes streams
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
}

// setter is an option of any call.
type setter interface{ set(*options) }

func collect[O setter](opts []O) (options, error) {
	o := options{backlog: 100, reuseAddress: true, limit: defaultStreamLimit, socket: -1, interleave: -1, file: fileOptions{cleanup: true}}
	for _, opt := range opts {
		if setter(opt) != nil {
			opt.set(&o)
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

// fits refuses options that do not apply to network, which is "" when o has a
// socket, and options of streams where no stream is made.
func (o *options) fits(network string) error {
	switch {
	case o.limited && !o.stream:
		return invalid("WithLimit is for streams: use it with OpenConnection or StartServer")
	case o.file.given() && !usesPaths(network) && (o.socket < 0 || !sock.IsUnix(o.socket)):
		return invalid("WithTakeOver, WithCleanupSocket and WithMode are for the file of a UNIX socket, not for network %q", network)
	}
	return nil
}

// forStream makes the options of a stream's call those of the call under it.
func forStream[O setter](opts []O) []O {
	return append(slices.Clone(opts), any(option(func(o *options) { o.stream = true })).(O))
}

// checkOnlySocket refuses an address beside a socket that was given.
func (o *options) checkOnlySocket(network, address string) error {
	if network != "" || address != "" || o.local != "" || len(o.addresses) > 0 {
		return invalid("WithSocket and an address (%q %q, local %q) cannot be given together", network, address, o.local)
	}
	return nil
}

// WithSocket takes a descriptor in place of network and address, which are
// empty then: a connected stream socket for a client, one that is bound for a
// server. It becomes the transport's or server's, which closes it, unless the
// call fails with loopnode.ErrInvalidArgument. asyncio: sock=.
func WithSocket(fd int) interface {
	ConnectOption
	ServerOption
	DatagramOption
} {
	return option(func(o *options) { o.socket, o.given = fd, true })
}

// WithAddresses makes a server listen on more addresses than one. Repetitions
// count once. asyncio: a sequence of hosts.
func WithAddresses(more ...string) ServerOption {
	return option(func(o *options) { o.addresses = append(o.addresses, more...) })
}

// WithLoops spreads a server's connections over loops in turn; a loop named
// twice gets twice as many. A connection's factory call, protocol and transport
// belong to its loop, so factory runs on several goroutines; what the connections of
// one loop share is a loopnode.PerLoop. The server's own
// loop accepts and gets none unless it is named. CreateServer waits until each
// of them runs.
func WithLoops(loops ...loopnode.Ref) ServerOption {
	return option(func(o *options) {
		for _, r := range loops {
			if l, here := r.Local(); here {
				o.loops = append(o.loops, l)
			} else {
				o.remote = append(o.remote, r)
			}
		}
	})
}

// WithHappyEyeballs makes a client try the next address when the one before has
// failed or has not answered for delay; the first that answers wins. 250 ms is
// usual (RFC 8305). Addresses alternate between the families then, unless
// WithInterleave says otherwise. Default 0: one after the other.
// asyncio: happy_eyeballs_delay.
func WithHappyEyeballs(delay time.Duration) ConnectOption {
	return option(func(o *options) { o.delay = delay })
}

// WithInterleave mixes the families of a client's addresses: n of the first
// family, then one of each in turn; 0 leaves the resolver's order.
// asyncio: interleave.
func WithInterleave(n int) ConnectOption {
	return option(func(o *options) { o.interleave = max(n, 0) })
}

// WithAllErrors makes a failed connect return the errors of all attempts, also
// of one: the error has Unwrap() []error. asyncio: all_errors.
func WithAllErrors() ConnectOption {
	return option(func(o *options) { o.allErrors = true })
}

// WithLocalAddress binds a client's socket to address ("host:port", port 0 for
// any) before it connects. asyncio: local_addr.
func WithLocalAddress(address string) ConnectOption {
	return option(func(o *options) { o.local = address })
}

// WithBacklog says how many clients the kernel may hold before they are
// accepted, and how many are accepted in one turn. The kernel and the loop have
// bounds of their own below a large n. Default 100.
func WithBacklog(n int) ServerOption {
	return option(func(o *options) { o.backlog = n })
}

// WithReuseAddress sets SO_REUSEADDR on listening sockets; on by default.
func WithReuseAddress(on bool) ServerOption {
	return option(func(o *options) { o.reuseAddress = on })
}

// WithReusePort sets SO_REUSEPORT on listening sockets.
func WithReusePort(on bool) interface {
	ServerOption
	DatagramOption
} {
	return option(func(o *options) { o.reusePort = on })
}

// WithKeepAlive sets SO_KEEPALIVE on a connection, or on all of a server's.
// Socket.SetKeepAlive sets the times as well.
func WithKeepAlive(on bool) ConnOption {
	return option(func(o *options) { o.keepAlive = on })
}

// WithStartServing(false) makes a server that is bound but refuses clients
// until StartServing or ServeForever. asyncio: start_serving.
func WithStartServing(on bool) ServerOption {
	return option(func(o *options) { o.bindOnly = !on })
}

// WithLimit is how many unread bytes a Stream holds before it stops reading;
// it holds at most twice that and one read. Default 64 KiB.
func WithLimit(bytes int) interface {
	ConnectOption
	ServerOption
} {
	return option(func(o *options) { o.limit, o.limited = bytes, true })
}
