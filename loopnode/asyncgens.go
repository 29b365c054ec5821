package loopnode

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/loopmesh/loopmesh/loopnode/report"
)

// generators are a loop's: started and not at their end. Owned by the loop
// goroutine.
type generators struct {
	live map[*generator]struct{}
	seq  uint64
	shut bool
}

// add lists a generator that begins.
func (gs *generators) add(g *generator, l *Loop) {
	if gs.shut {
		l.log.Warn("asynchronous generator was started after ShutdownAsyncgens; nobody will close it", "loop", l.name, "generator", g.name)
	}
	if gs.live == nil {
		gs.live = map[*generator]struct{}{}
	}
	gs.seq++
	g.seq = gs.seq
	gs.live[g] = struct{}{}
}

// list is the live generators, oldest first.
func (gs *generators) list() []*generator {
	all := make([]*generator, 0, len(gs.live))
	for g := range gs.live {
		all = append(all, g)
	}
	slices.SortFunc(all, func(a, b *generator) int { return cmp.Compare(a.seq, b.seq) })
	return all
}

// ShutdownAsyncgens closes every generator of the loop that was started and has
// not ended, each in a task of its own, and waits for what they clean up. Errors
// of theirs go to the exception handler, ErrBusy too: a task is inside. Generators
// started later are logged. It waits in the calling task; the error is that of the
// wait. asyncio: loop.shutdown_asyncgens.
func (l *Loop) ShutdownAsyncgens(ctx context.Context) error {
	l.gens.shut = true
	var closers []Awaitable[struct{}]
	for _, g := range l.gens.list() {
		closers = append(closers, g.closer(ctx))
	}
	_, err := GatherAll(ctx, closers...)
	return err
}

// closer is a task that closes g and reports what goes wrong.
func (g *generator) closer(ctx context.Context) *Task[struct{}] {
	return CreateTask(ctx, "close "+g.name, func(ctx context.Context) (struct{}, error) {
		err := g.close(ctx)
		if err != nil && !errors.Is(err, ErrCancelled) {
			g.report(err)
			err = nil
		}
		return struct{}{}, err
	})
}

func (g *generator) report(err error) {
	g.loop.CallExceptionHandler(ExceptionContext{
		Kind: report.Generator, Message: "an error occurred during closing of asynchronous generator " + g.name, Exception: err, Generator: g.String(),
	})
}

// collected runs when nobody refers to the generator. Called by the runtime's
// cleanup goroutine. Why the error is dropped: a loop that is closed has ended
// its generators.
func (g *generator) collected() {
	_ = g.loop.post(func() {
		if g.state == parked {
			g.closer(g.loop.Context(withoutTask(g.ctx.now())))
		}
	})
}

// abandonGenerators unwinds what is left when the loop closes: the pending yield
// returns ErrLoopClosed, deferred calls run.
func (l *Loop) abandonGenerators() {
	for _, g := range l.gens.list() {
		delete(l.gens.live, g)
		l.log.Warn("asynchronous generator was not closed before its loop", "loop", l.name, "generator", g.String())
		g.ctx.end()
		g.state = exhausted
		g.w.co.Close()
		if p := g.w.co.Panic; p != nil && !errors.Is(p, ErrLoopClosed) {
			g.report(p)
		}
	}
}
