package link

import (
	"errors"
	"time"
)

// What is sent to all members (signs of life, claims of names) makes each of them work and
// answer, so one node that sends it as fast as it can would slow down the whole cluster. A
// node has a few such frames to send a second. Of one sender at most broadcastsEach are
// looked at in a second; the others are counted as refused. It may drop a sign of life of
// a node that was held up and sends many at once, and the next one is heard.

// broadcastsEach is far above what a node sends whose heartbeat is 10 ms.
const broadcastsEach = 200

var errTooOften = errors.New("its sender sends too many of these")

// pace counts what each sender has sent in this second. Owned by one receiving goroutine.
type pace struct {
	begun  time.Time
	counts map[string]int
}

// allow counts one more frame of sender.
func (p *pace) allow(sender string, now time.Time) bool {
	if now.Sub(p.begun) >= time.Second {
		p.begun = now
		if len(p.counts) > maxSenders {
			p.counts = nil
		}
		clear(p.counts)
	}
	if p.counts == nil {
		p.counts = map[string]int{}
	}
	p.counts[sender]++
	return p.counts[sender] <= broadcastsEach
}
