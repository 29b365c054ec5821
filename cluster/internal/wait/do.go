package wait

import "context"

// outcome is what a function returned.
type outcome[T any] struct {
	v   T
	err error
}

// Do runs fn, which blocks, for whoever ctx belongs to: for a goroutine here, for a
// task on a goroutine of its own while the task is suspended. fn has to end soon after
// its ctx. In a callback of a loop nobody may wait: ErrWouldBlock.
func Do[T any](ctx context.Context, fn func(context.Context) (T, error)) (none T, err error) {
	if _, ok := taskLoop(ctx); !ok {
		if _, err := New[T](ctx); err != nil { // refuses a callback
			return none, err
		}
		return fn(ctx)
	}
	w, err := New[outcome[T]](ctx)
	if err != nil {
		return none, err
	}
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	// goroutine: owner: Do; ends when fn returns, soon after Do has
	go func() {
		v, err := fn(inner)
		w.Deliver(outcome[T]{v, err})
	}()
	r, err := w.Wait(ctx)
	if err != nil {
		return none, err
	}
	return r.v, r.err
}
