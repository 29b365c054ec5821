package loopnode

import (
	"context"
	"errors"
	"testing"
)

// What no constructor made answers with an error, not with a success or a panic.
func TestZeroValues(t *testing.T) {
	inTask(t, func(ctx context.Context, _ *Loop) error {
		var f Future[int]
		if _, err := f.Await(ctx); !errors.Is(err, ErrInvalidArgument) {
			t.Errorf("Await of a zero future: %v", err)
		}
		var g Generator[int]
		if _, _, err := g.Next(ctx); !errors.Is(err, ErrInvalidArgument) {
			t.Errorf("Next: %v", err)
		}
		if err := g.Close(ctx); !errors.Is(err, ErrInvalidArgument) || g.String() == "" {
			t.Errorf("Close: %v", err)
		}
		return nil
	})
}

// A failure beside ErrGeneratorExit is told by Close.
func TestCloseTellsAFailureOfTheCleanUp(t *testing.T) {
	boom := errors.New("boom")
	for name, end := range map[string]func(error) error{
		"joined":  func(err error) error { return errors.Join(err, boom) },
		"a group": func(err error) error { return &GroupError{Errs: []error{boom, err}} },
	} {
		inTask(t, func(ctx context.Context, _ *Loop) error {
			g := NewGenerator(func(_ context.Context, yield func(int) error) error { return end(yield(1)) })
			if _, _, err := g.Next(ctx); err != nil {
				return err
			}
			if err := g.Close(ctx); !errors.Is(err, boom) {
				t.Errorf("%s: %v", name, err)
			}
			return nil
		})
	}
	inTask(t, func(ctx context.Context, _ *Loop) error {
		g := NewGenerator(func(_ context.Context, yield func(int) error) error { return errors.Join(yield(1), nil) })
		if _, _, err := g.Next(ctx); err != nil {
			return err
		}
		return g.Close(ctx)
	})
}
