package loopnode

import (
	"context"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

// TestThreadLock: outside of debug mode these programs end the process.
func TestThreadLock(t *testing.T) {
	bg := context.Background()
	debugMode := func(c *Config) { c.Debug = true }
	t.Run("debug mode refuses a wait under a thread lock, and the task goes on", func(t *testing.T) {
		l, log := newLoop(t, debugMode)
		k := CreateTask(l.Context(bg), "locker", func(ctx context.Context) (int, error) {
			runtime.LockOSThread()
			err := Sleep(ctx, time.Millisecond)
			isErr(t, err, ErrInvalidState)
			isErr(t, Sleep(ctx, 0), ErrInvalidState)
			runtime.UnlockOSThread()
			return 3, Sleep(ctx, 0)
		})
		if v, err := RunUntilComplete(l, k); v != 3 || err != nil || log.String() != "" {
			t.Error(v, err, log)
		}
	})
	t.Run("debug mode unlocks what a task or callback leaves locked, and reports it", func(t *testing.T) {
		l, log := newLoop(t, debugMode)
		CreateTask(l.Context(bg), "forgetful", func(ctx context.Context) (int, error) {
			runtime.LockOSThread()
			runtime.LockOSThread()
			return 0, nil
		})
		l.CallSoon(runtime.LockOSThread)
		CreateTask(l.Context(bg), "", func(ctx context.Context) (int, error) { return 0, Sleep(ctx, 0) })
		runTurns(t, l, 4)
		for _, who := range []string{"task forgetful returned", "callback runtime.LockOSThread returned"} {
			if !strings.Contains(log.String(), who) {
				t.Errorf("%q is not in the log: %s", who, log)
			}
		}
	})
}

// TestPanicOnFaultIsNoLoop: the mark of a coroutine is a setting that programs may
// use themselves.
func TestPanicOnFaultIsNoLoop(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	inTask(t, func(ctx context.Context, l *Loop) error { return Sleep(ctx, 0) })
	f := NewSafeFuture[int]()
	must(t, f.SetResult(1))
	if v, err := f.Wait(context.Background()); v != 1 || err != nil {
		t.Error(v, err)
	}
	must(t, Sleep(context.Background(), time.Millisecond))
}
