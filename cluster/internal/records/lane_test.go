package records

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

// TestWhoWaitsForOthersIsNotUnanswered: a batch whose time is over while it waits for others of
// its process says so when the store has answered one of them, and else why its time is over.
func TestWhoWaitsForOthersIsNotUnanswered(t *testing.T) {
	silent := errors.New("nobody answers")
	writes := []Write{{Subject: "a"}, {Subject: "b", Guard: "owner"}}
	for _, answered := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := &Records{lanes: newLanes()}
			leave, err := r.enter(t.Context(), writes)
			if err != nil {
				t.Fatal(err)
			}
			ctx, end := context.WithCancelCause(t.Context())
			waited := make(chan error, 1)
			go func() { _, err := r.enter(ctx, writes); waited <- err }()
			synctest.Wait() // it stands in the line
			if answered {
				r.answered.Add(1)
			}
			end(silent)
			if err = <-waited; errors.Is(err, ErrBehind) != answered || errors.Is(err, silent) == answered {
				t.Errorf("while others were answered %v: %v", answered, err)
			}
			leave()
			if leave, err = r.enter(t.Context(), writes); err != nil {
				t.Fatal(err)
			}
			leave()
		})
	}
}
