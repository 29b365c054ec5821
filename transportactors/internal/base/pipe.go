package base

import (
	"context"

	"github.com/loopmesh/loopmesh/loopnode"
)

// Pipe is the transport of our end of a pipe to a child. It is a
// transportactors.Transport with what only the owner of the child may do.
type Pipe interface {
	Close()
	Abort()
	// Listen begins to call the protocol.
	Listen()
	Member
}

// OpenPipe makes a Pipe of the descriptor fd, which it owns from here on, also
// when it fails. p, a protocol without ConnectionMade, hears nothing before
// Listen. ctx is what the transport was made with.
//
// Why a variable: package subprocess needs transports of pipes, and
// transportactors, which has them, keeps their type to itself. transportactors
// sets it when the program starts and never again.
var OpenPipe func(l *loopnode.Loop, ctx context.Context, fd int, writes bool, p any) (Pipe, error)
