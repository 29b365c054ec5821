package loopnode

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"

	"github.com/loopmesh/loopmesh/internal/coro"
)

// How a generator runs.
//
// The body is a coroutine inside the task that calls Next or Close, not a task of
// its own. Next resumes the body's coroutine from the task's; control comes back
// in one of three ways:
//
//   - the body called yield: Next returns the value. No turn has passed.
//   - the body waits: it has registered the calling task with what it waits for,
//     as every wait does. Next suspends the task in its turn; when the loop resumes
//     the task, Next resumes the body inside its wait.
//   - the body has ended: Next returns what it left.
//
// So for the loop there is one task only. CurrentTask inside the body is that
// task, its cancellation is delivered to the wait that the body is in, and a
// time-out scope around Next covers the body.
//
// A body may call Next of another generator. task.gen is the innermost generator
// whose Next or Close the task is in, generator.outer the one around it, and a wait
// suspends the innermost coroutine first (see task.suspend), then each Next on the
// way out suspends the one around it.
//
// Invariant: task is set exactly while state is inside; then and only then
// the generator is in the list that begins at task.gen.

type generatorState uint8

const (
	fresh     generatorState = iota
	inside                   // a task is in Next or Close, the body runs or waits
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
	ctx      generatorContext
	w        *worker                     // the body's coroutine, from the first Next to its end
	run      func(context.Context) error // the body
	err      error                       // what it returned
	task     *task                       // who is in Next or Close
	outer    *generator                  // whose body that call is made from; nil: the task's own function
	yielded  bool                        // the body gave control back at a yield
	closing  bool                        // yield returns ErrGeneratorExit
	refusals int                         // yields since closing
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

// start gives the body a coroutine and lists the generator with the loop.
func (g *generator) start(l *Loop, fn reflect.Value, run func(context.Context) error) {
	g.loop, g.run = l, run
	if f := runtime.FuncForPC(fn.Pointer()); f != nil {
		g.name = f.Name()
	}
	l.gens.add(g, l)
	g.w = l.takeWorker(nil)
	g.w.co.Start(g.main)
}

// main is what the coroutine runs.
func (g *generator) main() {
	if g.w.gid == 0 {
		g.w.gid = goroutineID()
	}
	g.task.gid.Store(g.w.gid)
	if g.loop.labels {
		g.err = g.task.labelled(func() error { return g.run(&g.ctx) })
		return
	}
	g.err = g.run(&g.ctx)
}

// advance resumes the body, for t, until it yields (true) or ends (false). The
// error is what the body ended with.
func (g *generator) advance(ctx context.Context, t *task) (bool, error) {
	g.state, g.task, g.outer, g.yielded = inside, t, t.gen, false
	from := t.coroutine()
	t.gen = g
	t.gid.Store(g.w.gid)
	leave := g.ctx.enter(ctx, t)
	out := g.w.co.Resume()
	for out == coro.Suspended && !g.yielded {
		if t.report != nil { // somebody asks for the task's stack: the body has written down its part
			*t.report = append(*t.report, callers()...)
		}
		from.co.Suspend()
		out = g.w.co.Resume()
	}
	leave()
	t.gen, g.task, g.outer = g.outer, nil, nil
	t.gid.Store(from.gid)
	if g.yielded {
		g.state = parked
		return true, nil
	}
	return false, g.ended(out)
}

// yield, called by the body after mayYield, gives control back to advance and
// returns when advance is called again.
func (g *generator) yield() error {
	g.yielded = true
	if !g.w.co.Suspend() {
		return closedError(g.loop) // see abandonGenerators
	}
	if g.closing {
		return ErrGeneratorExit
	}
	return nil
}

// mayYield refuses a call from elsewhere than the body, and values that nobody
// asked for.
func (g *generator) mayYield() error {
	switch {
	case !coro.Marked():
		return fmt.Errorf("%w: yield of a generator was called on another goroutine than its body's", ErrWrongGoroutine)
	case g.state == exhausted && g.loop.closed.Load():
		return g.refuse(closedError(g.loop))
	case g.task == nil:
		return fmt.Errorf("%w: yield of %s was called while nobody waits for a value", ErrInvalidState, g)
	}
	if err := g.task.owned(); err != nil {
		return err
	}
	switch {
	case g.task.gen != g:
		return fmt.Errorf("%w: yield of %s was called inside of %s", ErrInvalidState, g, g.task.gen)
	case g.closing:
		return g.refuse(ErrGeneratorExit)
	}
	return nil
}

// refuse counts yields that have no one to go to. Why a panic in the end: a body
// that ignores the error must hang neither Close nor the loop.
func (g *generator) refuse(err error) error {
	if g.refusals++; g.refusals > maxRefusals {
		panic(fmt.Errorf("%w: %s does not stop yielding", err, g))
	}
	return err
}

// ended gives the body's coroutine back and says what the body has left.
func (g *generator) ended(out coro.Outcome) error {
	err := g.err
	switch out {
	case coro.Panicked:
		err = g.w.co.Panic
	case coro.Exited:
		g.w.co.Discard()
		err = ErrGoexit
	}
	if out != coro.Exited {
		g.loop.giveWorker(g.w)
	}
	g.state, g.w, g.run, g.err = exhausted, nil, nil, nil
	g.ctx.end()
	delete(g.loop.gens.live, g)
	switch {
	case !g.closing:
		return err
	case g.refusals > 0 && (err == nil || isOnly(err, ErrGeneratorExit)):
		return fmt.Errorf("%w: %s ignored ErrGeneratorExit and yielded again", ErrInvalidState, g)
	case isOnly(err, ErrGeneratorExit):
		return nil
	}
	return err
}

// close makes the pending yield return ErrGeneratorExit and waits for the end of
// the body.
func (g *generator) close(ctx context.Context) error {
	t, err := g.enter(ctx)
	if err != nil {
		return err
	}
	if g.state == fresh {
		g.state = exhausted
	}
	if g.state != parked {
		return nil
	}
	g.closing = true
	_, err = g.advance(ctx, t)
	return err
}

// coroutine is the one that the task's code runs on: that of the innermost
// generator it is in, or its own.
func (t *task) coroutine() *worker {
	if t.gen != nil {
		return t.gen.w
	}
	return t.w
}

func (g *generator) String() string {
	state := [...]string{"fresh", "running", "waiting", "exhausted"}[g.state]
	return fmt.Sprintf("<Generator %s %s>", g.name, state)
}

// isOnly reports whether err is target and nothing else: one that joins it with a
// failure, as a clean-up or a task group does, is that failure.
func isOnly(err, target error) bool {
	for err != nil && err != target {
		if many, ok := err.(interface{ Unwrap() []error }); ok {
			all := many.Unwrap()
			return len(all) > 0 && !slices.ContainsFunc(all, func(e error) bool { return !isOnly(e, target) })
		}
		err = errors.Unwrap(err)
	}
	return err == target
}
