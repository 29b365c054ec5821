package loopnode

import "context"

// Go is CreateTask for a function without a result: it does not wait, and a
// failure that nobody looks at is reported. Any goroutine. Errors as CreateTask.
// asyncio: loop.create_task.
func Go(ctx context.Context, name string, fn func(ctx context.Context) error, opts ...TaskOption) *Task[struct{}] {
	if fn == nil {
		return CreateTask[struct{}](ctx, name, nil, opts...)
	}
	return createTask(ctx, name, func(ctx context.Context) (struct{}, error) { return struct{}{}, fn(ctx) }, fn, opts)
}
