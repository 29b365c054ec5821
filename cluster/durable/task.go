package durable

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/registry"
	"github.com/loopmesh/loopmesh/cluster/internal/traces"
	"github.com/loopmesh/loopmesh/internal/guard"
	"github.com/loopmesh/loopmesh/internal/wire"
	"github.com/loopmesh/loopmesh/loopnode"
)

// A function of a program runs as the task of a loop, as if a node had called it: its ctx
// is one of the node and the loop, and ends when the owner cancels it. What differs is
// who is told how it ended: not a caller, but the record of the call or the queue. An
// error that is not the function's (its loop was closed, the ownership ended) is told
// apart, because it must not count as an attempt.

// host runs functions as tasks on one loop and can cancel all of them. Owned by the
// Server that made it.
type host struct {
	node *cluster.Node
	loop *loopnode.Loop

	mu    sync.Mutex
	tasks map[*loopnode.Task[struct{}]]struct{} // that run
	ended bool                                  // cancelled; nothing begins any more
}

// errNotRun: the run was cancelled, or never began, for a reason that is not the
// function's: it does not count as an attempt.
var errNotRun = errors.New("it did not run to its end here")

// run starts a function; ended is called once, on the loop's goroutine, or here when the
// loop is closed.
func (h *host) run(name string, codec wire.Codec, arg []byte, info Run, ended func(error)) {
	err := h.loop.Ref().CallSoonThreadsafe(func() { h.begin(name, codec, arg, info, ended) })
	if err != nil {
		ended(fmt.Errorf("%w: %w", errNotRun, err))
	}
}

// begin makes the task. Loop goroutine.
func (h *host) begin(name string, codec wire.Codec, arg []byte, info Run, ended func(error)) {
	e := registry.Function(name)
	if e == nil {
		ended(fmt.Errorf("%w: %q is not registered on node %s", fault.ErrUnknownFunction, name, h.node.Name()))
		return
	}
	h.mu.Lock()
	if h.ended {
		h.mu.Unlock()
		ended(errNotRun)
		return
	}
	ctx := withRun(h.loop.Context(h.node.Context(context.Background())), info)
	task := loopnode.CreateTask(ctx, name, func(ctx context.Context) (_ struct{}, err error) {
		ctx, end := partsOf(h.node).Traces.Run(ctx, info.trace, name, h.loop.Name(), trace.SpanKindConsumer, time.Time{})
		defer func() { end(err) }()
		err = traces.ErrUnfinished
		_, err = e.Serve(ctx, codec, arg)
		return struct{}{}, err
	})
	h.tasks[task] = struct{}{}
	h.mu.Unlock()
	task.AddDoneCallback(func(f *loopnode.Future[struct{}]) {
		h.mu.Lock()
		delete(h.tasks, task)
		over := h.ended
		h.mu.Unlock()
		_, err := f.Result()
		var p *guard.Panic
		switch {
		case errors.As(err, &p):
			err = fmt.Errorf("%w: %s", fault.ErrPanic, fault.PanicText(p.Value))
		case err != nil && over && errors.Is(err, loopnode.ErrCancelled):
			err = fmt.Errorf("%w: %w", errNotRun, err)
		}
		ended(err)
	})
}

// cancel ends what runs and lets nothing begin.
func (h *host) cancel(why string) {
	h.mu.Lock()
	h.ended = true
	h.mu.Unlock()
	// A closed loop has ended its tasks.
	_ = h.loop.Ref().CallSoonThreadsafe(func() {
		h.mu.Lock()
		var all []*loopnode.Task[struct{}]
		for t := range h.tasks {
			all = append(all, t)
		}
		h.mu.Unlock()
		for _, t := range all {
			t.Cancel(why)
		}
	})
}
