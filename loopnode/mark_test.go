package loopnode

import (
	"context"
	"runtime/debug"
	"testing"
	"time"
)

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

// TestThreadLockIsSeen reads the headers that Go prints. Why not with a real lock:
// nothing in this module may lock a thread, tests included.
func TestThreadLockIsSeen(t *testing.T) {
	if threadLocked() || lockedHeader([]byte("goroutine 7 [running]:")) || !lockedHeader([]byte("goroutine 7 [running, locked to thread]:")) {
		t.Error("a thread lock is not told from none")
	}
}
