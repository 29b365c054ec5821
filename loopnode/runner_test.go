package loopnode

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

type valueKey struct{}

func TestRunner(t *testing.T) {
	quiet := WithConfig(Config{Logger: testLogger(&logBuffer{})})
	idle := func(context.Context) error { return nil }

	t.Run("LOOP-27 several runs share one loop and one set of values; closing is final", func(t *testing.T) {
		made := 0
		base := context.WithValue(context.Background(), valueKey{}, "shared")
		r := NewRunner(WithValues(base), WithLoopFactory(func() (*Loop, error) {
			made++
			return New(Config{Logger: testLogger(&logBuffer{})})
		}))
		if made != 0 {
			t.Fatal("NewRunner made a loop")
		}
		var loops []*Loop
		ticks := 0
		for range 2 {
			must(t, r.Run(context.Background(), func(ctx context.Context) error {
				l, err := Running(ctx)
				loops = append(loops, l)
				if ctx.Value(valueKey{}) != "shared" {
					t.Error("the runner's values are not seen")
				}
				if len(loops) == 1 {
					CreateTask(ctx, "left", func(ctx context.Context) (int, error) {
						ticks++
						if err := Sleep(ctx, 0); err != nil {
							return 0, err
						}
						ticks++
						return 0, nil
					})
					return err
				}
				for ticks < 2 && err == nil { // what the first run left goes on
					err = Sleep(ctx, 0)
				}
				return err
			}))
		}
		l, err := r.Loop()
		must(t, err)
		if made != 1 || loops[0] != loops[1] || l != loops[0] {
			t.Fatalf("made %d loops, ran on %v", made, loops)
		}
		must(t, r.Close())
		must(t, r.Close())
		if !l.IsClosed() {
			t.Fatal("the loop is open")
		}
		if err := r.Run(context.Background(), idle); !errors.Is(err, ErrLoopClosed) || !strings.Contains(err.Error(), "runner is closed") {
			t.Fatal(err)
		}
		if _, err := r.Loop(); !errors.Is(err, ErrLoopClosed) {
			t.Fatal(err)
		}
	})
	t.Run("LOOP-27 a run inside a run is refused", func(t *testing.T) {
		r := NewRunner(quiet)
		defer r.Close()
		must(t, r.Run(context.Background(), func(ctx context.Context) error {
			if err := r.Run(ctx, idle); !errors.Is(err, ErrNestedLoop) {
				t.Errorf("run: %v", err)
			}
			if err := r.Close(); !errors.Is(err, ErrNestedLoop) {
				t.Errorf("close: %v", err)
			}
			return nil
		}))
	})
	t.Run("LOOP-27 a factory that fails is asked again", func(t *testing.T) {
		broken := errors.New("no descriptors")
		fail := true
		r := NewRunner(WithLoopFactory(func() (*Loop, error) {
			if fail {
				return nil, broken
			}
			return New(Config{Logger: testLogger(&logBuffer{})})
		}))
		if err := r.Run(context.Background(), idle); !errors.Is(err, broken) {
			t.Fatal(err)
		}
		fail = false
		must(t, r.Run(context.Background(), idle))
		must(t, r.Close())
	})
	t.Run("a runner that was never used closes, and its error is main's", func(t *testing.T) {
		must(t, NewRunner().Close())
		boom := errors.New("boom")
		r := NewRunner(quiet)
		defer r.Close()
		if err := r.Run(context.Background(), func(context.Context) error { return boom }); !errors.Is(err, boom) {
			t.Fatal(err)
		}
		if err := r.Run(context.Background(), func(ctx context.Context) error { return Sleep(ctx, time.Microsecond) }); err != nil {
			t.Fatal("the next run suffers from the last:", err)
		}
	})
}
