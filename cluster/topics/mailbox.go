package topics

import (
	"sync"

	"github.com/loopmesh/loopmesh/loopnode"
)

// Limits of what waits for one loop.
const (
	maxOfTopic = 1024     // messages of a topic
	maxOfLoop  = 8192     // messages of all its topics
	maxBytes   = 16 << 20 // of these
	perTurn    = 256      // subscribers called in one callback: a turn goes on to what else is there
)

// delivery is something for subscribers of a loop. step calls one of them.
type delivery interface{ step(*table) bool }

// share is what one topic has in the mailbox of a loop. Guarded by mailbox.mu.
type share struct {
	topic   string
	waiting int
	dropped uint64             // since the last one that was put in
	gap     func(Gap) delivery // makes the notice of what was dropped. table.mu is held
}

// letter is a delivery that waits.
type letter struct {
	delivery
	of   *share
	size int
}

// mailbox is what waits for one loop. Whoever publishes puts in; one callback of the loop
// at a time takes out. Invariant: posted is true exactly while a callback is posted or
// runs.
//
// A message that does not fit is dropped and counted in its share. The count becomes a
// Gap when the next message of the topic fits, in front of it, or when the loop has taken
// everything: then the subscribers hear of it although nothing follows.
type mailbox struct {
	table  *table
	loop   *loopnode.Loop
	unhook func()

	mu      sync.Mutex
	letters []letter
	next    int             // the first that was not taken out
	size    int             // bytes of those not taken out
	gapped  map[*share]bool // with something dropped
	posted  bool
	now     delivery // taken out and not finished. Loop goroutine
}

// put adds a delivery that stands for so many messages, or drops it. table.mu is held: so deliveries of a topic have one
// order on all loops.
func (b *mailbox) put(of *share, d delivery, worth uint64, size int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if of.waiting >= maxOfTopic || len(b.letters)-b.next >= maxOfLoop || b.size+size > maxBytes {
		b.table.dropped.Add(worth)
		of.dropped += worth
		if b.gapped == nil {
			b.gapped = map[*share]bool{}
		}
		b.gapped[of] = true
		return
	}
	b.tellGap(of)
	b.add(letter{d, of, size})
	b.post()
}

// tellGap puts in what was dropped of a topic. b.mu and table.mu are held.
func (b *mailbox) tellGap(of *share) {
	if of.dropped == 0 {
		return
	}
	g := Gap{Topic: of.topic, Missed: of.dropped, Reason: ErrSlow}
	of.dropped = 0
	delete(b.gapped, of)
	b.add(letter{of.gap(g), of, 0})
}

func (b *mailbox) add(l letter) {
	if b.next > perTurn && b.next > len(b.letters)/2 { // else a mailbox that is never empty grows for ever
		n := copy(b.letters, b.letters[b.next:])
		clear(b.letters[n:])
		b.letters, b.next = b.letters[:n], 0
	}
	b.letters = append(b.letters, l)
	l.of.waiting++
	b.size += l.size
}

// post posts the callback. A loop that is closed hears nothing more. b.mu is held.
func (b *mailbox) post() {
	if !b.posted {
		b.posted = b.loop.Ref().CallSoonThreadsafe(b.drain) == nil
	}
}

// drain calls up to perTurn subscribers. One that panics ends the callback; the loop
// reports it, and the others are called in the next one. Loop goroutine.
func (b *mailbox) drain() {
	defer b.again()
	for range perTurn {
		if b.now == nil {
			if b.now = b.take(); b.now == nil {
				return
			}
		}
		if !b.now.step(b.table) {
			b.now = nil
		}
	}
}

// take takes the next delivery out; nil when there is none.
func (b *mailbox) take() delivery {
	b.mu.Lock()
	empty := b.next == len(b.letters)
	gaps := len(b.gapped)
	b.mu.Unlock()
	if empty && gaps > 0 {
		b.tellGaps()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.next == len(b.letters) {
		return nil
	}
	l := b.letters[b.next]
	b.letters[b.next] = letter{}
	l.of.waiting--
	b.size -= l.size
	if b.next++; b.next == len(b.letters) {
		b.letters, b.next = b.letters[:0], 0
		if cap(b.letters) > perTurn {
			b.letters = nil // a burst must not hold memory for ever
		}
	}
	return l.delivery
}

// tellGaps puts in what was dropped of all topics: the loop has caught up. The lock of
// the table comes first.
func (b *mailbox) tellGaps() {
	b.table.mu.Lock()
	defer b.table.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	for of := range b.gapped {
		b.tellGap(of)
	}
}

// again posts the next callback where there is something left.
func (b *mailbox) again() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.posted = false
	if b.now != nil || b.next < len(b.letters) || len(b.gapped) > 0 {
		b.post()
	}
}
