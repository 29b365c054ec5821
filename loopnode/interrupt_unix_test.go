//go:build unix

package loopnode

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"
)

func interruptMyself(t *testing.T) {
	t.Helper()
	must(t, syscall.Kill(syscall.Getpid(), syscall.SIGINT))
}

func TestInterrupt(t *testing.T) {
	quiet := WithConfig(Config{Logger: testLogger(&logBuffer{})})
	t.Run("LOOP-26 the first SIGINT cancels main and becomes ErrInterrupted", func(t *testing.T) {
		cleaned := false
		err := Run(context.Background(), func(ctx context.Context) error {
			interruptMyself(t)
			err := Sleep(ctx, time.Hour)
			cleaned = errors.Is(err, ErrCancelled)
			return err
		}, quiet)
		var fatal *FatalError
		if !cleaned || !errors.Is(err, ErrInterrupted) || !errors.As(err, &fatal) {
			t.Fatalf("cleaned %v, err %v", cleaned, err)
		}
	})
	t.Run("LOOP-26 main that catches the cancellation wins", func(t *testing.T) {
		must(t, Run(context.Background(), func(ctx context.Context) error {
			interruptMyself(t)
			_ = Sleep(ctx, time.Hour)
			return nil
		}, quiet))
	})
	t.Run("LOOP-26 a cancellation by user code counts more than the signal", func(t *testing.T) {
		err := Run(context.Background(), func(ctx context.Context) error {
			me, _ := CurrentTask(ctx)
			interruptMyself(t)
			err := Sleep(ctx, time.Hour)
			me.Cancel("my own")
			return err
		}, quiet)
		if !errors.Is(err, ErrCancelled) || errors.Is(err, ErrInterrupted) {
			t.Fatal(err)
		}
	})
	t.Run("LOOP-26 a second SIGINT ends the run at once", func(t *testing.T) {
		r := NewRunner(quiet)
		stubborn := true
		err := r.Run(context.Background(), func(ctx context.Context) error {
			interruptMyself(t)
			_ = Sleep(ctx, time.Hour) // the first one
			interruptMyself(t)
			for stubborn {
				_ = Sleep(ctx, time.Hour)
			}
			return nil
		})
		if !errors.Is(err, ErrInterrupted) {
			t.Error(err)
		}
		stubborn = false
		must(t, r.Close())
	})
	t.Run("LOOP-26 a second SIGINT ends Run also when main ignores every cancellation", func(t *testing.T) {
		waits, left := 0, false
		err := Run(context.Background(), func(ctx context.Context) error {
			defer func() { left = true }()
			for ctx := context.WithoutCancel(ctx); ; waits++ {
				if waits < 2 {
					interruptMyself(t)
				}
				if errors.Is(Sleep(ctx, time.Hour), ErrLoopClosed) {
					return nil
				}
			}
		}, quiet)
		if !errors.Is(err, ErrInterrupted) || !left {
			t.Error(err, left)
		}
	})
	t.Run("the watch for the signal may be stopped twice", func(t *testing.T) {
		r := NewRunner(quiet)
		must(t, r.Run(context.Background(), func(ctx context.Context) error { return nil }))
		l, err := r.Loop()
		must(t, err)
		_, stop := l.watchInterrupt(&CreateTask(l.Context(context.Background()), "idle", func(context.Context) (int, error) { return 0, nil }).t)
		stop()
		stop() // twice is harmless
		must(t, r.Close())
	})
}
