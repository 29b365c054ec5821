package supervisor

import (
	"errors"
	"testing"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/loopnode/internal/testloop"
)

// TestLateVerdict: who decides so slowly that the stuck callback has returned
// meanwhile ends no loop that works.
func TestLateVerdict(t *testing.T) {
	policy := newVerdicts(func(f loopnode.Failure) loopnode.Directive {
		if isStuck(f.Reason) {
			return actors.Restart
		}
		return actors.Undecided
	})
	policy.Config.Stuck = stuckAfter
	gate, deciding, moved := make(chan struct{}), make(chan loopnode.Failure, 100), make(chan struct{})
	s, lives := supervised(t, Config{Policy: policy, OnDecided: func(f loopnode.Failure) {
		select {
		case deciding <- f:
		default:
		}
		<-moved
	}})
	life := comes(t, lives)
	testloop.Must(t, life.Loop().Ref().CallSoonThreadsafe(func() { <-gate }))
	if f := comes(t, deciding); f.Directive != actors.Restart || !errors.Is(f.Reason, loopnode.ErrStuck) || f.Normal {
		t.Errorf("decided: %+v", f)
	}
	close(gate)
	turn := make(chan struct{})
	testloop.Must(t, life.Loop().Ref().CallSoonThreadsafe(func() { close(turn) }))
	comes(t, turn)
	close(moved) // only now the verdict is there
	for range 100 {
		turn := make(chan struct{})
		testloop.Must(t, life.Loop().Ref().CallSoonThreadsafe(func() { close(turn) }))
		comes(t, turn)
	}
	if s.Lives() != 1 {
		t.Errorf("%d lives: a verdict that came too late ended the first", s.Lives())
	}
	if _, err := s.Ref(); errors.Is(err, loopnode.ErrLoopClosed) {
		t.Error(err)
	}
}

// TestNormalEndsAreMarked: Failure.Normal tells the end of a loop that stopped
// itself from a failure with the same error.
func TestNormalEndsAreMarked(t *testing.T) {
	decided := make(chan loopnode.Failure, 10)
	_, lives := supervised(t, Config{
		Policy:    newVerdicts(func(loopnode.Failure) loopnode.Directive { return actors.Restart }),
		Strategy:  actors.Strategy{Restart: actors.Permanent},
		OnDecided: func(f loopnode.Failure) { decided <- f },
	})
	testloop.Must(t, comes(t, lives).Loop().Ref().Stop())
	if f := comes(t, decided); !f.Normal || !errors.Is(f.Reason, actors.ErrStopped) {
		t.Errorf("stopped by itself: %+v", f)
	}
	testloop.Must(t, comes(t, lives).Loop().Ref().CallSoonThreadsafe(func() { panic(loopnode.Fatal(actors.ErrStopped)) }))
	if f := comes(t, decided); f.Normal || !errors.Is(f.Reason, actors.ErrStopped) {
		t.Errorf("failed with another's ErrStopped: %+v", f)
	}
	comes(t, lives)
}
