package loopnode

import (
	"context"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/loopnode/report"
)

// TestKindsOfReports: a handler tells reports apart without reading them.
func TestKindsOfReports(t *testing.T) {
	l, _ := newLoop(t, quiet)
	var got []report.Kind
	l.SetExceptionHandler(func(_ *Loop, ec ExceptionContext) { got = append(got, ec.Kind) })
	ctx := l.Context(context.Background())
	l.CallSoon(func() { panic(errBoom) })
	l.CallSoon(runtime.Goexit)
	f := NewFuture[int](l)
	outer := Shield(ctx, f)
	l.CallSoon(func() { outer.Cancel() })
	l.SetTaskFactory(func(*Loop, *TaskSpec) error { return errBoom })
	RunCoroutineThreadsafe(l.Ref(), "", func(context.Context) (int, error) { return 0, nil })
	l.SetTaskFactory(nil)
	g := NewGenerator(func(_ context.Context, yield func(int) error) error { _ = yield(1); return errBoom })
	runTurns(t, l, 2)
	must(t, f.SetException(errBoom))
	runTurns(t, l, 1)
	_, err := RunUntilComplete(l, CreateTask(ctx, "", func(ctx context.Context) (int, error) {
		next(t, ctx, g)
		return 0, l.ShutdownAsyncgens(ctx)
	}))
	must(t, err)
	runtime.KeepAlive(g)
	lost := NewFuture[int](l)
	must(t, lost.SetException(errBoom))
	CreateTask(ctx, "", func(ctx context.Context) (int, error) { return 0, Sleep(ctx, time.Hour) })
	runTurns(t, l, 2)
	must(t, l.Close())
	want := []report.Kind{
		report.Callback, report.Callback, report.Task, report.Shielded, report.Generator, report.Pending, report.Unretrieved,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if report.Server.String() != "server" || report.Kind(99).String() != "unknown" {
		t.Error("kinds have no names")
	}
}
