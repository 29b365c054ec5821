package records

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// A consumer lives on one server and reads the copy of the stream that lies there. A server
// that could not write, for want of descriptors, may leave its copy as it was while the others
// go on: its consumers give signs of life and tell nothing new, for as long as the server
// lives. So who follows asks the server that leads now and then what the last record is, and
// begins anew when it does not hear of it: the next consumer may be elsewhere.

const (
	askEach = 5 * time.Second
	// hearsWithin is how long a record may be on its way. A machine that is so busy that it takes
	// longer would be made busier by reading everything anew.
	hearsWithin = 10 * time.Second
)

var errBehind = errors.New("the server of the consumer is behind the one that leads")

// behind returns errBehind when a record that last tells of was not heard in time, and nil
// when ctx ends. heard is the highest sequence that was heard. Nothing is asked before caught is
// true: who still reads what there is, is behind.
func behind(ctx context.Context, caught *atomic.Bool, heard *atomic.Uint64, last func(context.Context) (uint64, error)) error {
	tick := time.NewTicker(askEach)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if !caught.Load() {
			continue
		}
		seq, err := last(ctx)
		if err != nil || seq <= heard.Load() {
			continue // without an answer there is nothing to compare with
		}
		patience := time.NewTimer(hearsWithin)
		select {
		case <-patience.C:
		case <-ctx.Done():
			patience.Stop()
			return nil
		}
		if heard.Load() < seq {
			return errBehind
		}
	}
}

// lastOf is the highest sequence of the records that one of the subjects matches, by the
// server that leads; 0 when there is none.
func (r *Records) lastOf(ctx context.Context, subjects []string) (highest uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	for _, subject := range subjects {
		rec, err := r.last(ctx, r.Text(subject))
		switch {
		case errors.Is(err, ErrAbsent):
		case err != nil:
			return 0, err
		default:
			highest = max(highest, rec.Seq)
		}
	}
	return highest, nil
}
