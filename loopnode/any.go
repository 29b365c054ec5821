package loopnode

import "context"

// Any is the future for calls that take futures of one type, such as Gather, next
// to others: its result is an any. It is no new future: it is done when this one is,
// and cancelling it cancels this one.
func (f *Future[T]) Any() Awaitable[any] { return &untypedResult[T]{Future: f} }

// untypedResult is a future whose result is given as any. The methods that do not
// know T are those of the future.
type untypedResult[T any] struct {
	*Future[T]
	chained *Future[any] // made by typed
}

// Result is Future.Result.
func (u *untypedResult[T]) Result() (any, error) {
	v, err := u.Future.Result()
	if err != nil {
		return nil, err
	}
	return v, nil
}

// Await is Future.Await.
func (u *untypedResult[T]) Await(ctx context.Context) (any, error) {
	v, err := u.Future.Await(ctx)
	if err != nil {
		return nil, err
	}
	return v, nil
}

// typed is a future of its own, for those that need one: it ends one turn after
// this one, as CPython's chained futures.
func (u *untypedResult[T]) typed() *Future[any] {
	if u.chained == nil {
		u.chained = u.chain()
	}
	return u.chained
}

func (u *untypedResult[T]) chain() *Future[any] {
	inner := u.Future
	if inner.loop == nil {
		return refusedFuture[any](inner.err)
	}
	outer := NewFuture[any](inner.loop)
	copyOutcome := func() {
		inner.see()
		outer.conclude(inner.state, inner.value, inner.err)
	}
	if inner.state != pending {
		copyOutcome()
		return outer
	}
	outer.asked = func(msg ...string) bool { return inner.Cancel(msg...) }
	inner.onDoneFor(&outer.future, copyOutcome)
	return outer
}
