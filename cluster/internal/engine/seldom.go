package engine

import (
	"sync/atomic"
	"time"
)

// seldom lets one message per second through. Why: a peer that floods a node must
// not flood its log as well.
type seldom struct{ last atomic.Int64 }

func (s *seldom) allow(now time.Time) bool {
	last, at := s.last.Load(), now.UnixNano()
	return at-last >= int64(time.Second) && s.last.CompareAndSwap(last, at)
}
