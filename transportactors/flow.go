package transportactors

import (
	"fmt"
	"math"

	"github.com/loopmesh/loopmesh/loopnode"
)

// flow decides when a protocol must stop writing and may go on, and how much may
// wait at most. Owned by the loop goroutine.
//
// The high and low marks are advice: above the high one the protocol is told
// PauseWriting, at the low one ResumeWriting. The hard limit is for those who go
// on writing, or cannot be told because they write from another goroutine or node: a write that would
// make more than it wait ends the connection with ErrWriteLimit. One write while no
// more than the high mark waits may be larger: a writer that stops at PauseWriting,
// or waits in Ref.WriteWait, must not be ended for it, and the program decides
// on the size of that write, not the peer. So what waits is never more than the
// limit, or the high mark and one write.
type flow struct {
	high, low int
	hard      int  // most bytes that may wait; 0: writeHeadroom above high
	paused    bool // the protocol is told not to write
}

const (
	defaultHigh = 64 << 10
	lowShare    = 4
	// writeHeadroom is how far the hard limit is above the high mark unless
	// WithWriteLimit says otherwise.
	writeHeadroom = 16 << 20
)

func newFlow() flow { return flow{high: defaultHigh, low: defaultHigh / lowShare} }

// limit sets the marks; negative is not given.
func (f *flow) limit(high, low int) error {
	h, l, err := waterMarks(high, low)
	if err == nil {
		f.high, f.low = h, l
	}
	return err
}

// admits is ErrWriteLimit when n more bytes behind those that are queued are too many.
func (f *flow) admits(queued, n int) error {
	most := max(f.hard, f.high)
	if f.hard == 0 {
		most = min(f.high, math.MaxInt-writeHeadroom) + writeHeadroom
	}
	if queued <= f.high || n <= most-queued {
		return nil
	}
	return fmt.Errorf("%w: %d bytes wait and %d more came, the limit is %d (WithWriteLimit)", ErrWriteLimit, queued, n, most)
}

// pause reports whether size queued bytes are the moment to pause.
func (f *flow) pause(size int) bool {
	if f.paused || size <= f.high {
		return false
	}
	f.paused = true
	return true
}

// resume reports whether size queued bytes are the moment to go on.
func (f *flow) resume(size int) bool {
	if !f.paused || size > f.low {
		return false
	}
	f.paused = false
	return true
}

// whyPaused says why the protocol was told PauseWriting: ExtraInfo("paused"). It is
// nil while it may write.
func (f *flow) whyPaused(size int) any {
	if !f.paused {
		return nil
	}
	return fmt.Sprintf("%d bytes wait for the peer; writing was paused above %d and resumes at %d", size, f.high, f.low)
}

// logPause is the same as a line of the log, in debug mode.
func (f *flow) logPause(l *loopnode.Loop, t fmt.Stringer, size int) {
	if l.Debug() {
		l.Logger().Debug("PauseWriting", "transport", t.String(), "why", f.whyPaused(size))
	}
}

// waterMarks works out the marks from what was given; negative is not given.
func waterMarks(high, low int) (int, int, error) {
	switch {
	case high < 0 && low < 0:
		high = defaultHigh
	case high < 0:
		high = lowShare * min(low, math.MaxInt/lowShare)
		high = max(high, low)
	}
	if low < 0 {
		low = high / lowShare
	}
	if high < low {
		return 0, 0, invalid("the high water mark %d is below the low one %d", high, low)
	}
	return high, low, nil
}
