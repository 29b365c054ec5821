package loopnode

import (
	"context"
	"fmt"
)

// Source is what EnsureFuture makes a future of: futures and tasks, also inside
// a type of your own, a Coroutine, and a SafeFuture.
type Source[T any] interface {
	futureOf(ctx context.Context) Awaitable[T]
}

// Coroutine is a function that can become a task.
type Coroutine[T any] func(ctx context.Context) (T, error)

// EnsureFuture gives an awaitable of ctx's loop: a future or task is itself, a
// Coroutine becomes a task (through the loop's TaskFactory), a SafeFuture is
// wrapped. It does not wait. Loop goroutine; any goroutine for a Coroutine. What
// cannot be is a future born failed: ErrWrongLoop, ErrInvalidArgument (nil), and
// the errors of CreateTask. asyncio.ensure_future.
func EnsureFuture[T any](ctx context.Context, src Source[T]) Awaitable[T] {
	if src == nil {
		return refusedFuture[T](invalid("EnsureFuture needs a future or a function, not nil"))
	}
	aw, is := src.(Awaitable[T])
	if !is {
		return src.futureOf(ctx)
	}
	f := aw.untyped()
	if l := loopOf(ctx); l != nil && f.loop != nil && f.loop != l {
		return refusedFuture[T](fmt.Errorf("%w: the future is of %s, the ctx of %s", ErrWrongLoop, f.loop.name, l.name))
	}
	return aw
}

func (f *Future[T]) futureOf(context.Context) Awaitable[T] { return f }

func (fn Coroutine[T]) futureOf(ctx context.Context) Awaitable[T] { return CreateTask(ctx, "", fn) }

func (f *SafeFuture[T]) futureOf(ctx context.Context) Awaitable[T] { return WrapFuture(ctx, f) }
