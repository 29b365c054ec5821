package loopnode

import (
	"context"

	"github.com/loopmesh/loopmesh/loopnode/report"
)

// Shield gives a future that ends as aw does, but whose cancellation leaves aw
// alone. Cancelling aw cancels it. When aw is done it is returned itself. What
// fails after the outer future was cancelled goes to the exception handler,
// once. It does not wait. Loop goroutine. asyncio.shield.
func Shield[T any](ctx context.Context, aw Awaitable[T]) *Future[T] {
	if absent(aw) {
		return refusedFuture[T](invalid("Shield needs a future, not nil"))
	}
	inner := aw.typed()
	if inner.state != pending {
		return inner
	}
	if _, err := commonLoop(ctx, []*future{&inner.future}); err != nil {
		return refusedFuture[T](err)
	}
	outer := NewFuture[T](inner.loop)
	id := inner.onDoneFor(&outer.future, func() {
		if outer.state == pending {
			inner.see()
			outer.conclude(inner.state, inner.value, inner.err)
		}
	})
	outer.onDone(func() { inner.unshield(id) })
	return outer
}

// typed is the future itself; only futures and tasks have it.
func (f *Future[T]) typed() *Future[T] { return f }

// unshield: the outer future is done; what the inner one does from now on
// nobody sees, unless it is reported.
func (f *future) unshield(id CallbackID) {
	if f.state != pending {
		return
	}
	f.forget(id)
	if f.shield {
		return
	}
	f.shield = true
	f.onDone(func() {
		if f.state == failed {
			f.loop.CallExceptionHandler(ExceptionContext{
				Kind: report.Shielded, Message: "exception in shielded future", Exception: f.Exception(), Future: f.what(), Source: frames(f.source),
			})
		}
	})
}

// what names the future for people.
func (f *future) what() string {
	if f.owner != nil {
		return f.owner.String()
	}
	return "Future"
}
