package topics

import (
	"sync/atomic"

	"github.com/loopmesh/loopmesh/loopnode"
)

// subscriber is one function of one loop.
type subscriber[T any] struct {
	options
	fn   func(Message[T])
	over atomic.Bool // cancelled
}

// kindOf is the subscribers of a topic that take a T.
type kindOf[T any] struct {
	lanes map[*loopnode.Loop]*lane[T] // guarded by table.mu
}

// lane is the subscribers of one loop. Guarded by table.mu.
type lane[T any] struct {
	share
	box  *mailbox
	subs []*subscriber[T] // only appended to, or replaced: who has a copy of the slice may read it
	live int              // of these: not cancelled
}

// add appends a subscriber. table.mu is held.
func (k *kindOf[T]) add(topic string, box *mailbox, s *subscriber[T]) {
	l := k.lanes[box.loop]
	if l == nil {
		l = &lane[T]{box: box, share: share{topic: topic}}
		l.share.gap = func(g Gap) delivery { return &call[T]{subs: l.subs, gap: g} }
		k.lanes[box.loop] = l
	}
	l.subs = append(l.subs, s)
	l.live++
}

// remove notes that a subscriber of a loop was cancelled; false: the loop has ended. The
// list is made anew when half of it is cancelled, so that one who leaves costs little
// where ten thousand stay. table.mu is held.
func (k *kindOf[T]) remove(loop *loopnode.Loop) bool {
	l := k.lanes[loop]
	if l == nil {
		return false
	}
	l.live--
	switch {
	case l.live == 0:
		delete(k.lanes, loop)
	case l.live < len(l.subs)/2:
		left := make([]*subscriber[T], 0, l.live)
		for _, s := range l.subs {
			if !s.over.Load() {
				left = append(left, s)
			}
		}
		l.subs = left
	}
	return true
}

func (k *kindOf[T]) close(loop *loopnode.Loop) int {
	l := k.lanes[loop]
	if l == nil {
		return 0
	}
	delete(k.lanes, loop)
	return l.live
}

func (k *kindOf[T]) deliver(t *table, c *carried) {
	v, err := valueOf[T](c)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.unreadable.Add(1)
		k.lost(Gap{Topic: c.topic, Missed: 1, Reason: err})
		return
	}
	m := Message[T]{Topic: c.topic, Node: c.node, Value: v}
	for _, l := range k.lanes {
		l.box.put(&l.share, &call[T]{subs: l.subs, message: m}, 1, len(c.payload))
	}
}

func (k *kindOf[T]) lost(g Gap) {
	for _, l := range k.lanes {
		l.box.put(&l.share, &call[T]{subs: l.subs, gap: g}, g.Missed, 0)
	}
}

// call is a message, or a gap, on its way to the subscribers of one loop that were there
// when it came.
type call[T any] struct {
	subs    []*subscriber[T]
	next    int
	message Message[T]
	gap     Gap // of a message: zero
}

// step calls one subscriber; false: there is none left. It counts before it calls: a
// subscriber that panics is not called again. Loop goroutine.
func (c *call[T]) step(t *table) bool {
	for c.next < len(c.subs) {
		s := c.subs[c.next]
		c.next++
		switch {
		case s.over.Load():
		case c.gap.Missed == 0:
			t.delivered.Add(1)
			s.fn(c.message)
			return true
		case s.gap != nil:
			s.gap(c.gap)
			return true
		}
	}
	return false
}
