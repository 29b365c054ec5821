package base

import (
	"context"

	"github.com/loopmesh/loopmesh/internal/loopaccess"
	"github.com/loopmesh/loopmesh/loopnode"
)

// Creation is the ctx a transport was made with. Invariant: set before the
// protocol hears of the transport, and never again.
type Creation struct{ ctx context.Context }

// Context is that ctx, nil before SetContext.
func (o *Creation) Context() context.Context { return o.ctx }

// SetContext takes the values of ctx, and l as its loop, but neither its task nor its end.
func (o *Creation) SetContext(l *loopnode.Loop, ctx context.Context) {
	o.ctx = loopaccess.Of(l).Detach(ctx)
}

// Inherit takes the ctx of another transport, which is under this one.
func (o *Creation) Inherit(from interface{ Context() context.Context }) { o.ctx = from.Context() }
