package transportactors

import (
	"errors"
	"fmt"

	"github.com/loopmesh/loopmesh/loopnode"
)

// The errors of this package, to be tested with errors.Is.
var (
	// ErrClosed: the transport or server is closing or closed. It is not the
	// reason of ConnectionLost: that is nil for a connection that was closed.
	ErrClosed = errors.New("transport is closed")
	// ErrWriteEOF: WriteEOF was called; nothing can be written after it.
	// RuntimeError("Cannot call write() after write_eof()").
	ErrWriteEOF = errors.New("cannot write after WriteEOF")
	// ErrSendfile: a file is being sent, and nothing else until it has gone.
	// RuntimeError("unable to write; sendfile is in progress").
	ErrSendfile = errors.New("unable to write; sendfile is in progress")
	// ErrWriteLimit: more output waits than the limit of the transport allows,
	// because the peer does not take it. It is the reason of ConnectionLost of a
	// connection that went above its limit; see WithWriteLimit.
	ErrWriteLimit = errors.New("too much output waits for the peer")
)

var errEmptyBuffer = invalid("GetBuffer returned an empty buffer")

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{loopnode.ErrInvalidArgument}, args...)...)
}
