package transportactors

import (
	"time"
)

// bounds is what a connection grants its peer. The zero value is the default.
type bounds struct {
	writeLimit int           // 0: writeHeadroom above the high mark
	idle       time.Duration // 0: for ever
	first      time.Duration // 0: for ever
}

func (b bounds) check() error {
	switch {
	case b.writeLimit < 0:
		return invalid("the write limit %d is negative", b.writeLimit)
	case b.idle < 0 || b.first < 0:
		return invalid("the idle timeout %v or the first byte timeout %v is negative", b.idle, b.first)
	}
	return nil
}

// WithWriteLimit is how many bytes may wait for a peer that does not take them.
// A write that finds bytes waiting and would make them more than that ends the
// connection: the write returns ErrWriteLimit and ErrClosed, and ConnectionLost and
// those who watch the connection get ErrWriteLimit as the reason. A datagram is
// refused with ErrWriteLimit and its endpoint goes on. One write that comes while no
// more than the high mark waits may be larger: a writer that stops at PauseWriting
// is never ended for its size. A limit below the high mark counts as the high mark.
// Default: 16 MiB above the high mark, which SetWriteBufferLimits moves.
//
// A protocol that stops at PauseWriting, and a Stream, stay far below it.
// asyncio has no such limit.
func WithWriteLimit(bytes int) interface {
	ConnOption
	DatagramOption
} {
	return option(func(o *options) { o.bounds.writeLimit = bytes })
}

// WithIdleTimeout ends a connection when nothing was received and nothing was
// taken by the peer for d, or up to a quarter more. The reason of ConnectionLost is
// loopnode.ErrTimeout. A connection whose reading is paused gets nothing, so it is
// idle unless it sends. It finds peers that are gone without a word, and clients
// that connect and keep silent. Connections and servers; default: no limit.
func WithIdleTimeout(d time.Duration) ConnOption {
	return option(func(o *options) { o.bounds.idle = d })
}

// WithFirstByteTimeout ends a connection when its peer has sent nothing within d
// after ConnectionMade; under TLS only what is sent behind the handshake counts,
// which has a limit of its own (WithHandshakeTimeout). The reason is
// loopnode.ErrTimeout. Connections and servers; default: no limit.
func WithFirstByteTimeout(d time.Duration) ConnOption {
	return option(func(o *options) { o.bounds.first = d })
}
