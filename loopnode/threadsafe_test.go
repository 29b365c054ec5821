package loopnode

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestRunCoroutineThreadsafe(t *testing.T) {
	l := runAside(t)
	boom := errors.New("boom")
	t.Run("EXE-13 the outcome of a task arrives", func(t *testing.T) {
		v, err := RunCoroutineThreadsafe(l.Ref(), "", func(ctx context.Context) (string, error) {
			if _, ok := CurrentTask(ctx); !ok || !l.here() {
				t.Error("it is no task of the loop")
			}
			return "done", Sleep(ctx, time.Millisecond)
		}).Wait(inTime(t))
		if v != "done" || err != nil {
			t.Errorf("got %q, %v", v, err)
		}
		_, err = RunCoroutineThreadsafe(l.Ref(), "", func(context.Context) (int, error) { return 0, boom }).Wait(inTime(t))
		isErr(t, err, boom)
	})
	t.Run("EXE-13 cancelling it cancels the task, and the other way round", func(t *testing.T) {
		started, seen := make(chan struct{}), make(chan error, 1)
		f := RunCoroutineThreadsafe(l.Ref(), "", func(ctx context.Context) (int, error) {
			close(started)
			err := Sleep(ctx, time.Hour)
			seen <- err
			return 0, err
		})
		within(t, "start", started)
		if !f.Cancel("enough") || !f.Cancelled() {
			t.Error("not cancelled at once")
		}
		var c *CancelledError
		if err := <-seen; !errors.As(err, &c) || c.Msg != "enough" {
			t.Errorf("the task saw %v", err)
		}
		f = RunCoroutineThreadsafe(l.Ref(), "", func(ctx context.Context) (int, error) {
			me, _ := CurrentTask(ctx)
			me.Cancel("myself")
			return 0, Sleep(ctx, 0)
		})
		_, err := f.Wait(inTime(t))
		if !errors.As(err, &c) || c.Msg != "myself" || !f.Cancelled() {
			t.Errorf("got %v", err)
		}
	})
	t.Run("EXE-13 a closed loop ends it", func(t *testing.T) {
		closing, _ := newLoop(t)
		begun := RunCoroutineThreadsafe(closing.Ref(), "", func(ctx context.Context) (int, error) {
			err := Sleep(ctx, time.Hour)
			return 0, err
		})
		must(t, closing.RunOnce(0))
		waiting := RunCoroutineThreadsafe(closing.Ref(), "", func(context.Context) (int, error) { t.Error("ran"); return 0, nil })
		must(t, closing.Close())
		for _, f := range []*SafeFuture[int]{begun, waiting} {
			_, err := f.Wait(inTime(t))
			isErr(t, err, ErrLoopClosed)
		}
	})
	t.Run("EXE-13 what cannot become a task is the outcome, and a failing factory is reported", func(t *testing.T) {
		_, err := RunCoroutineThreadsafe(Ref{}, "", value(0)).Result()
		isErr(t, err, ErrNotLocal)
		_, err = RunCoroutineThreadsafe[int](l.Ref(), "", nil).Result()
		isErr(t, err, ErrInvalidArgument)
		refusing, log := newLoop(t)
		refusing.SetTaskFactory(func(*Loop, *TaskSpec) error { return boom })
		_, err = RunCoroutineThreadsafe(refusing.Ref(), "", value(0)).Result()
		isErr(t, err, boom)
		runTurns(t, refusing, 1)
		if !strings.Contains(log.String(), "Task could not be created") {
			t.Errorf("not reported: %s", log)
		}
	})
}
