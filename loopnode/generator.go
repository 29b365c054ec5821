package loopnode

import (
	"context"
	"errors"
	"iter"
	"reflect"
	"runtime"
)

// ErrGeneratorExit is what yield returns in a generator that is being closed:
// clean up, which may wait, and return. GeneratorExit.
var ErrGeneratorExit = errors.New("the generator is being closed")

// Generator hands out values one at a time, made by a function that may wait in
// between. It belongs to the loop of the first Next; its methods are for tasks
// of that loop. A generator that nobody refers to any more is closed on its
// loop, some time later. asyncio: an asynchronous generator.
type Generator[T any] struct{ core *generatorOf[T] }

// generatorOf is what the body refers to: not the Generator, so that the
// collector can tell when nobody does.
type generatorOf[T any] struct {
	generator
	fn    func(ctx context.Context, yield func(T) error) error
	value T
}

// NewGenerator makes a generator of what fn yields and starts nothing: the first
// Next does. fn runs inside the task that calls Next: a wait of fn is a wait of that
// task, and the ctx that fn gets has the task, the values and the end of whatever
// ctx the Next in progress was called with. yield hands v out, which costs no
// turn, and returns at the next Next; when it returns an error fn must return:
// ErrGeneratorExit, or ErrLoopClosed. yield is for fn only: ErrInvalidState when
// another function calls it later, ErrWouldBlock from another task.
//
// A Timeout or a task group of fn must not be open at a yield: it would end a wait of
// the caller's own, since both run in one task (as in Python, see PEP 789).
func NewGenerator[T any](fn func(ctx context.Context, yield func(v T) error) error) *Generator[T] {
	return &Generator[T]{&generatorOf[T]{fn: fn}}
}

// Next is the next value, or false when there is none: fn has returned, or the
// generator was closed. It waits as fn does; cancelling the calling task, or the
// end of ctx, ends the wait that fn is in, and what fn makes of that counts.
// Errors: what fn returned, once; a *Panic of fn; ErrGoexit; ErrBusy (fn waits, for
// another task), ErrWrongLoop, ErrInvalidArgument (no function), ErrNoRunningLoop.
// asyncio: anext.
func (g *Generator[T]) Next(ctx context.Context) (v T, ok bool, err error) {
	c := g.core
	defer runtime.KeepAlive(g)
	if c == nil {
		return v, false, errZeroGenerator
	}
	t, err := c.enter(ctx)
	if err != nil || c.state == exhausted {
		return v, false, err
	}
	if c.state == fresh {
		if c.fn == nil {
			return v, false, invalid("NewGenerator needs a function, not nil")
		}
		c.start(t.loop, reflect.ValueOf(c.fn), c.body)
		runtime.AddCleanup(g, (*generator).collected, &c.generator)
	}
	if ok, err = c.advance(ctx, t); ok {
		v = c.value
	}
	var none T
	c.value = none
	return v, ok, err
}

// body calls fn.
func (c *generatorOf[T]) body(ctx context.Context) error {
	return c.fn(ctx, func(v T) error {
		if err := c.mayYield(); err != nil {
			return err
		}
		c.value = v
		return c.yield()
	})
}

// Close makes the pending yield return ErrGeneratorExit and waits until fn has
// returned; a generator that was never started, or has ended, has nothing to do.
// Errors: what fn returned instead; ErrInvalidState (fn went on yielding), and
// those of Next. asyncio: aclose.
func (g *Generator[T]) Close(ctx context.Context) error {
	defer runtime.KeepAlive(g)
	if g.core == nil {
		return errZeroGenerator
	}
	return g.core.generator.close(ctx)
}

// All ranges over what is left, and closes the generator when the range is left
// early. An error ends it. asyncio: async for.
func (g *Generator[T]) All(ctx context.Context) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for {
			v, ok, err := g.Next(ctx)
			switch {
			case err != nil:
				yield(v, err)
				return
			case !ok:
				return
			case !yield(v, nil):
				_ = g.Close(ctx)
				return
			}
		}
	}
}

// String names the function and the state.
func (g *Generator[T]) String() string {
	if g.core == nil {
		return "<Generator that NewGenerator did not make>"
	}
	return g.core.String()
}

var errZeroGenerator = invalid("a generator that NewGenerator did not make")
