package loopnode

import "context"

// ToThread runs fn on the loop's default executor and waits for it in the
// calling task. fn's ctx has the values and the end of ctx, but no task and no
// loop: there is nothing to await in a worker. Errors: fn's, and those of
// RunInExecutor and Await. asyncio.to_thread.
func ToThread[T any](ctx context.Context, fn func(ctx context.Context) (T, error)) (T, error) {
	if fn == nil {
		var zero T
		return zero, invalid("ToThread needs a function, not nil")
	}
	away := &awayContext{ctx}
	return RunInExecutor(ctx, nil, func() (T, error) { return fn(away) }).Await(ctx)
}

// awayContext is a ctx without its task and loop.
type awayContext struct{ context.Context }

func (c *awayContext) Value(key any) any {
	switch key.(type) {
	case taskKey, loopKey:
		return nil
	}
	return c.Context.Value(key)
}
