package durable

import (
	"context"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
)

// Run is one run of a durable call or command, for the function that runs. Owner, Token
// and ID are what a Sink needs.
type Run struct {
	Owner   string    // name that the owner has in package names: what Token belongs to
	Token   uint64    // fencing token of the owner that runs it, see package names
	Group   string    // of the call for later, or queue of the command
	ID      string    // the same for each attempt; of a recurring call each time has its own
	Due     time.Time // when it was to run; of a command: when it was sent
	Late    time.Duration
	Attempt int // 1 for the first

	trace string // context of the span of who asked for it
}

type runKey struct{}

// RunOf is the run that ctx belongs to: what a function registered with cluster.Func
// asks when it was called by this package.
func RunOf(ctx context.Context) (Run, bool) {
	r, ok := ctx.Value(runKey{}).(Run)
	return r, ok
}

func withRun(ctx context.Context, r Run) context.Context { return context.WithValue(ctx, runKey{}, r) }

func partsOf(n *cluster.Node) *inside.Parts { return n.Inside(inside.Key{}) }
