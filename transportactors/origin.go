package transportactors

import (
	"context"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors/internal/base"
)

// ContextOf is the ctx a transport was made with: that of the call that made it,
// or of CreateServer for an accepted connection. It has the values of that ctx
// and the transport's loop, but neither its task nor its end, and it stays the
// same for the whole life of the transport, whoever pauses, resumes or closes
// it. It is for tasks that a protocol starts, also from ConnectionLost. Any
// goroutine. asyncio: the context that protocol callbacks run in.
func ContextOf(t interface{ Loop() *loopnode.Loop }) context.Context {
	if ctx := base.BornOf(t); ctx != nil {
		return ctx
	}
	return t.Loop().Context(context.Background())
}
