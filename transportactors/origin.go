package transportactors

import (
	"context"

	"github.com/loopmesh/loopmesh/loopnode"
)

// ContextOf is the ctx a transport was made with: that of the call that made it,
// or of CreateServer for an accepted connection. It has the values of that ctx
// and the transport's loop, but neither its task nor its end, and it stays the
// same for the whole life of the transport, whoever pauses, resumes or closes
// it. It is for tasks that a protocol starts, also from ConnectionLost. Any
// goroutine. asyncio: the context that protocol callbacks run in.
func ContextOf(t interface{ Loop() *loopnode.Loop }) context.Context {
	if ctx := bornOf(t); ctx != nil {
		return ctx
	}
	return t.Loop().Context(context.Background())
}

// origin is the ctx a transport was made with. Invariant: set before the
// protocol hears of the transport, and never again.
type origin struct{ ctx context.Context }

func bornOf(t any) context.Context {
	if o, ok := t.(interface{ born() context.Context }); ok {
		return o.born()
	}
	return nil
}

func (o *origin) born() context.Context { return o.ctx }

func (o *origin) bear(l *loopnode.Loop, ctx context.Context) { o.ctx = l.Detach(ctx) }
