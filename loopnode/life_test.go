package loopnode

import (
	"context"
	"errors"
	"io"
	"testing"
)

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
	must(t, err)
	if got != first || first.closed != 0 || second.closed != 1 {
		t.Errorf("two at a time: %v, closed %d and %d times", got == first, first.closed, second.closed)
	}
	s.closeKept()
	if first.closed != 1 {
		t.Errorf("closed %d times at the end", first.closed)
	}
	late := &closable{}
	_, err = Keep(life, "b", func() (*closable, error) { return late, nil })
	isErr(t, err, ErrLoopClosed)
	if late.closed != 1 {
		t.Error("what came too late stays open")
	}
}

// noLoops makes one loop and then neither loops nor errors.
type noLoops struct {
	*DefaultPolicy
	loop *Loop
}

func (p *noLoops) NewLoop(string) (*Loop, error) {
	l := p.loop
	p.loop = nil
	return l, nil
}

func TestPolicyThatMakesNothing(t *testing.T) {
	_, err := Supervise(Supervision{Policy: &noLoops{DefaultPolicy: quietPolicy()}})
	isErr(t, err, ErrInvalidArgument)
	l, _ := newLoop(t)
	s, err := Supervise(Supervision{Policy: &noLoops{quietPolicy(), l}, Setup: func(context.Context, *Life) error { return errBoom }})
	must(t, err)
	within(t, "end of the supervision", s.Done())
	isErr(t, s.Err(), ErrInvalidArgument)
}

func TestSetupThatIsRefusedIsAFailure(t *testing.T) {
	l, _ := newLoop(t)
	l.SetTaskFactory(func(*Loop, *TaskSpec) error { return errBoom })
	s, err := Supervise(Supervision{
		Policy: &noLoops{quietPolicy(), l},
		Setup:  func(context.Context, *Life) error { t.Error("it ran"); return nil },
	})
	must(t, err)
	defer stopSupervised(t, s)
	within(t, "end of the supervision", s.Done())
}

func TestSafeFutureCallsAllCallbacks(t *testing.T) {
	f := NewSafeFuture[int]()
	called := 0
	f.AddDoneCallback(func() { called++; panic(errBoom) })
	f.AddDoneCallback(func() { called++ })
	func() {
		defer func() {
			if err, _ := recover().(error); !errors.Is(err, errBoom) {
				t.Error("the panic is lost", err)
			}
		}()
		_ = f.SetResult(1)
	}()
	if called != 2 {
		t.Errorf("%d of 2 callbacks were called", called)
	}
}
