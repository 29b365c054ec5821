package loopnode

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
)

type generatorState uint8

const (
	fresh     generatorState = iota
	inside                   // Next or Close waits for the body
	parked                   // the body waits at a yield
	exhausted                // the body has ended, or never will begin
)

// generator is the half of a Generator that does not know its type. Owned by
// the loop goroutine.
type generator struct {
	loop     *Loop // nil while fresh
	name     string
	seq      uint64
	state    generatorState
	body     *Task[struct{}]
	want     *future // who waits for the body; set exactly while inside
	park     *future // what the body waits for at a yield
	closing  bool
	refusals int // yields after the close
}

// generators are a loop's: started and not at their end. Owned by the loop
// goroutine.
type generators struct {
	live map[*generator]struct{}
	seq  uint64
	shut bool
}

// enter checks who calls.
func (g *generator) enter(ctx context.Context) (*task, error) {
	t := taskOf(ctx)
	if t == nil {
		return nil, fmt.Errorf("%w: a generator is used in a task, with its ctx", ErrNoRunningLoop)
	}
	if err := t.owned(); err != nil {
		return nil, err
	}
	switch {
	case g.loop != nil && g.loop != t.loop:
		return nil, fmt.Errorf("%w: %s is of loop %s, the task of %s", ErrWrongLoop, g, g.loop.name, t.loop.name)
	case g.state == inside:
		return nil, fmt.Errorf("%w: %s is running already", ErrBusy, g)
	}
	return t, nil
}

// start begins the body as a task that is not listed: it is part of whoever
// calls Next.
func (g *generator) start(l *Loop, ctx context.Context, fn reflect.Value, run func(context.Context) error) {
	g.loop = l
	if f := runtime.FuncForPC(fn.Pointer()); f != nil {
		g.name = f.Name()
	}
	if l.gens.shut {
		l.log.Warn("asynchronous generator was started after ShutdownAsyncgens; nobody will close it", "loop", l.name, "generator", g.name)
	}
	if l.gens.live == nil {
		l.gens.live = map[*generator]struct{}{}
	}
	l.gens.seq++
	g.seq = l.gens.seq
	l.gens.live[g] = struct{}{}
	g.body = l.unlisted(ctx, g.name, func(ctx context.Context) (struct{}, error) { return struct{}{}, run(ctx) })
	g.body.onDone(g.ended)
}

// unlisted is a task that AllTasks does not know, with the values of ctx but
// without its end.
func (l *Loop) unlisted(ctx context.Context, name string, fn func(context.Context) (struct{}, error)) *Task[struct{}] {
	k := &Task[struct{}]{fn: fn}
	k.loop, k.owner = l, &k.t
	k.t = task{loop: l, fut: &k.future, body: k, name: name}
	if l.debug {
		k.source = creationFrames()
	}
	if c, ok := ctx.(*taskContext); ok {
		ctx = c.parent // keeps no task alive
	}
	k.t.ctx.task, k.t.ctx.parent = &k.t, context.WithoutCancel(ctx)
	k.t.schedule()
	return k
}

// outcome waits until the body yields (true) or ends (false).
func (g *generator) outcome(ctx context.Context) (bool, error) {
	want := NewFuture[bool](g.loop)
	want.asked = func(msg ...string) bool { return g.body.Cancel(msg...) }
	g.state, g.want = inside, &want.future
	_, err := want.Await(ctx)
	switch {
	case want.state == pending: // the end of ctx: nobody waits for the value
		g.want = nil
		g.body.Cancel(err.Error())
	case g.park != nil:
		g.state = parked
	}
	return err == nil && g.state == parked, err
}

// mayYield refuses values nobody asked for.
func (g *generator) mayYield() error {
	if err := g.body.t.owned(); err != nil {
		return err
	}
	if !g.closing {
		return nil
	}
	if g.refusals++; g.refusals > maxRefusals {
		panic(fmt.Errorf("%w: %s does not stop yielding", ErrGeneratorExit, g))
	}
	return ErrGeneratorExit
}

// handOver gives the value to who asked and waits for the next who does.
func (g *generator) handOver(ctx context.Context) error {
	park := NewFuture[struct{}](g.loop)
	g.park = &park.future
	if !g.answer(finished, nil) { // whoever it wakes sets the state: until then nobody else may enter
		g.state = parked
	}
	_, err := park.Await(ctx)
	g.park, g.state = nil, inside
	return err
}

// answer ends the wait of whoever is inside; false: nobody is.
func (g *generator) answer(s futureState, err error) bool {
	want := g.want
	g.want = nil
	if want == nil || want.state != pending {
		return false
	}
	want.asked = nil
	want.settle(s, err)
	return true
}

// ended is the done callback of the body.
func (g *generator) ended() {
	g.state, g.park = exhausted, nil
	delete(g.loop.gens.live, g)
	err := g.body.Exception() // looked at: it goes to who waits
	if g.closing {
		err = g.afterExit(err)
	}
	switch {
	case err == nil:
		g.answer(finished, nil)
	case errors.Is(err, ErrCancelled):
		g.answer(cancelled, err)
	case !g.answer(failed, err):
		g.report(err)
	}
}

// afterExit is how a body that was told to leave has left.
func (g *generator) afterExit(err error) error {
	switch {
	case g.refusals > 0 && (err == nil || errors.Is(err, ErrGeneratorExit)):
		return fmt.Errorf("%w: %s ignored ErrGeneratorExit and yielded again", ErrInvalidState, g)
	case errors.Is(err, ErrGeneratorExit):
		return nil
	}
	return err
}

// exit tells a body that waits at a yield to leave; false: there is none.
func (g *generator) exit() bool {
	if g.state == fresh {
		g.state = exhausted
	}
	if g.state != parked {
		return false
	}
	g.closing, g.state = true, inside
	g.park.settle(failed, ErrGeneratorExit)
	return true
}

// collected runs when nobody refers to the generator. Called by the runtime's
// cleanup goroutine. Why the error is dropped: a loop that is closed has ended
// its generators.
func (g *generator) collected() {
	_ = g.loop.post(func() { g.exit() })
}

func (g *generator) report(err error) {
	g.loop.CallExceptionHandler(ExceptionContext{
		Message: "an error occurred during closing of asynchronous generator " + g.name, Exception: err, Generator: g.String(),
	})
}

// ShutdownAsyncgens closes every generator of the loop that was started and has
// not ended, all at once, and waits for what they clean up. Errors of theirs go
// to the exception handler. Generators started later are logged. It waits in
// the calling task; the error is that of the wait. asyncio:
// loop.shutdown_asyncgens.
func (l *Loop) ShutdownAsyncgens(ctx context.Context) error {
	l.gens.shut = true
	done := NewFuture[struct{}](l)
	left := 0
	for _, g := range l.gens.list() {
		if !g.exit() {
			g.report(fmt.Errorf("%w: it is running", ErrBusy))
			continue
		}
		left++
		g.body.onDone(func() {
			if left--; left == 0 {
				done.settleOnce()
			}
		})
	}
	if left == 0 {
		return nil
	}
	_, err := done.Await(ctx)
	return err
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

// abandonGenerators unwinds what is left when the loop closes: the pending wait
// returns ErrLoopClosed, deferred calls run.
func (l *Loop) abandonGenerators() {
	for _, g := range l.gens.list() {
		delete(l.gens.live, g)
		l.log.Warn("asynchronous generator was not closed before its loop", "loop", l.name, "generator", g.String())
		g.body.t.ctx.end()
		g.body.t.unwind()
		g.state = exhausted
	}
}
