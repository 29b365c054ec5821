package transportactors

import "math"

// flow is when a protocol must stop writing and may go on. Owned by the loop
// goroutine.
type flow struct {
	high, low int
	paused    bool // the protocol is told not to write
}

const (
	defaultHigh = 64 << 10
	lowShare    = 4
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
