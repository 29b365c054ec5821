package supervisor

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/loopnode/internal/testloop"
)

var errBoom = errors.New("boom")

// closable counts how often it is closed.
type closable struct{ closed int }

func (c *closable) Close() error { c.closed++; return nil }

func TestKeepOnce(t *testing.T) {
	s := &Supervisor{kept: map[string]io.Closer{}}
	life := &Life{s: s}
	first, second := &closable{}, &closable{}
	got, err := Keep(life, "a", func() (*closable, error) {
		_, err := Keep(life, "a", func() (*closable, error) { return first, nil })
		return second, err
	})
	testloop.Must(t, err)
	if got != first || first.closed != 0 || second.closed != 1 {
		t.Errorf("two at a time: %v, closed %d and %d times", got == first, first.closed, second.closed)
	}
	s.closeKept()
	if first.closed != 1 {
		t.Errorf("closed %d times at the end", first.closed)
	}
	late := &closable{}
	_, err = Keep(life, "b", func() (*closable, error) { return late, nil })
	testloop.IsErr(t, err, loopnode.ErrLoopClosed)
	if late.closed != 1 {
		t.Error("what came too late stays open")
	}
}

// TestTheLastKeptIsClosedFirst: what was kept later may use what was kept before.
func TestTheLastKeptIsClosedFirst(t *testing.T) {
	s := &Supervisor{kept: map[string]io.Closer{}}
	var order []string
	for _, key := range []string{"a", "b", "c"} {
		_, err := Keep(&Life{s: s}, key, func() (io.Closer, error) {
			return closer(func() { order = append(order, key) }), nil
		})
		testloop.Must(t, err)
	}
	s.closeKept()
	if !slices.Equal(order, []string{"c", "b", "a"}) {
		t.Errorf("closed in the order %v", order)
	}
}

type closer func()

func (c closer) Close() error { c(); return nil }

// noLoops makes one loop and then neither loops nor errors.
type noLoops struct {
	*loopnode.DefaultPolicy
	loop *loopnode.Loop
}

func (p *noLoops) NewLoop(string) (*loopnode.Loop, error) {
	l := p.loop
	p.loop = nil
	return l, nil
}

func TestPolicyThatMakesNothing(t *testing.T) {
	_, err := Start(Config{Policy: &noLoops{DefaultPolicy: quietPolicy()}})
	testloop.IsErr(t, err, loopnode.ErrInvalidArgument)
	l, _ := testloop.New(t)
	s, err := Start(Config{Policy: &noLoops{quietPolicy(), l}, Setup: func(context.Context, *Life) error { return errBoom }})
	testloop.Must(t, err)
	comes(t, s.Done())
	testloop.IsErr(t, s.Err(), loopnode.ErrInvalidArgument)
}

func TestSetupThatIsRefusedIsAFailure(t *testing.T) {
	l, _ := testloop.New(t)
	l.SetTaskFactory(func(*loopnode.Loop, *loopnode.TaskSpec) error { return errBoom })
	s, err := Start(Config{
		Policy: &noLoops{quietPolicy(), l},
		Setup:  func(context.Context, *Life) error { t.Error("it ran"); return nil },
	})
	testloop.Must(t, err)
	defer stopSupervised(t, s)
	comes(t, s.Done())
}
