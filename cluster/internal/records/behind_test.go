package records

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestAConsumerThatIsBehindIsGivenUp: the leader has a record that is not heard of. One that is
// on its way is waited for; without an answer, and while what there is is read, nothing is
// given up.
func TestAConsumerThatIsBehindIsGivenUp(t *testing.T) {
	silent := errors.New("no answer")
	for _, c := range []struct {
		name   string
		caught bool
		heard  uint64
		comes  time.Duration // when the record is heard; 0: never
		last   uint64
		err    error
		want   error
	}{
		{"nothing is new", true, 7, 0, 7, nil, nil},
		{"nothing was ever stored", true, 0, 0, 0, nil, nil},
		{"it is not heard", true, 7, 0, 8, nil, errBehind},
		{"nothing is heard", true, 0, 0, 8, nil, errBehind},
		{"it is on its way", true, 7, askEach + hearsWithin - time.Second, 8, nil, nil},
		{"it comes too late", true, 7, askEach + hearsWithin + time.Second, 8, nil, errBehind},
		{"nobody answers", true, 7, 0, 8, silent, nil},
		{"what there is is being read", false, 7, 0, 8, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				var caught atomic.Bool
				var heard atomic.Uint64
				caught.Store(c.caught)
				heard.Store(c.heard)
				if c.comes > 0 {
					time.AfterFunc(c.comes, func() { heard.Store(c.last) })
				}
				begun := time.Now()
				err := behind(ctx, &caught, &heard, func(context.Context) (uint64, error) { return c.last, c.err })
				if !errors.Is(err, c.want) || c.want == nil && err != nil {
					t.Errorf("got %v, want %v", err, c.want)
				}
				if took := time.Since(begun); c.want != nil && took > askEach+hearsWithin {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}
