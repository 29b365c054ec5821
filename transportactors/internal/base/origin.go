package base

import (
	"context"

	"github.com/loopmesh/loopmesh/loopnode"
)

// Origin is the ctx a transport was made with. Invariant: set before the
// protocol hears of the transport, and never again.
type Origin struct{ ctx context.Context }

// Born is that ctx, nil before Bear.
func (o *Origin) Born() context.Context { return o.ctx }

// Bear takes the values of ctx, and l as its loop, but neither its task nor its end.
func (o *Origin) Bear(l *loopnode.Loop, ctx context.Context) { o.ctx = l.Detach(ctx) }

// Inherit takes the ctx of another transport, which is under this one or owns it.
func (o *Origin) Inherit(from any) { o.ctx = BornOf(from) }

// BornOf is the ctx t was made with; nil when it keeps none.
func BornOf(t any) context.Context {
	if b, ok := t.(interface{ Born() context.Context }); ok {
		return b.Born()
	}
	return nil
}
