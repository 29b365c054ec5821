package lookup

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/internal/coro"
	"github.com/loopmesh/loopmesh/internal/loopaccess"
	"github.com/loopmesh/loopmesh/loopnode"
)

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{loopnode.ErrInvalidArgument}, args...)...)
}

// resolverOf is the resolver of ctx's loop.
func resolverOf(ctx context.Context) loopnode.Resolver {
	if ctx != nil {
		if l, ok := ctx.Value(loopaccess.LoopKey{}).(*loopnode.Loop); ok {
			return loopaccess.Of(l).Resolver().(loopnode.Resolver)
		}
	}
	return net.DefaultResolver
}

// offLoop runs fn where it may block: for a task on the default executor, for a
// goroutine without a task on that goroutine. The ctx that fn gets ends with the
// wait.
func offLoop[T any](ctx context.Context, fn func(context.Context) (T, error)) (v T, err error) {
	t := loopaccess.TaskOf(ctx)
	switch {
	case t != nil:
		if err := t.Owned(); err != nil {
			return v, err
		}
		lookup, stop := context.WithCancel(context.Background())
		defer stop() // a cancelled task wants no answer
		ex, _ := loopaccess.Of(t.Loop().(*loopnode.Loop)).ReservedExecutor("lookup").(loopnode.Executor)
		return loopnode.RunInExecutor(ctx, ex, func() (T, error) { return fn(lookup) }).Await(ctx)
	case coro.Inside():
		return v, fmt.Errorf("%w: look names up in a task", loopnode.ErrWouldBlock)
	}
	v, err = fn(ctx)
	if err != nil && ctx.Err() != nil {
		return v, loopnode.WaitDone(ctx) // ctx has ended: its error, in loopnode's words
	}
	return v, err
}

// code is the EAI code of a resolver's failure; unknown is for a name that does
// not exist.
func code(err error, unknown EAI) EAI {
	var d *net.DNSError
	var a *net.AddrError
	switch {
	case errors.As(err, &a):
		return unknown // the name has addresses, but none of the family
	case !errors.As(err, &d):
		return EAIFail
	case d.IsNotFound:
		return unknown
	case d.IsTemporary, d.IsTimeout:
		return EAIAgain
	}
	return EAIFail
}

// timed logs, in debug mode, how long a task waited for a name: at level info
// when that counts as slow, else at level debug.
func timed(ctx context.Context, host, service string) (done func()) {
	t := loopaccess.TaskOf(ctx)
	if t == nil {
		return func() {}
	}
	slow, on := t.SlowLookup()
	if !on {
		return func() {}
	}
	l := t.Loop().(*loopnode.Loop)
	start := l.Time()
	return func() {
		took, level := l.Time().Sub(start), hclog.Debug
		if took >= slow {
			level = hclog.Info
		}
		l.Logger().Log(level, fmt.Sprintf("Getting address info of %q, %q took %.3f ms", host, service, float64(took)/1e6), "loop", l.Name())
	}
}
