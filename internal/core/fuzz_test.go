package core

import (
	"slices"
	"testing"
	"time"
)

// model is the core written naively: slices, sorted when looked at.
type model struct {
	ready    []modelItem
	timers   []modelTimer
	pushed   int // position the next ready item gets
	stopping bool
}

type modelItem struct {
	id, pos int
	gone    bool
}

type modelTimer struct {
	id   int
	when int64
}

func (m *model) push(id int) int {
	m.ready = append(m.ready, modelItem{id: id, pos: m.pushed})
	m.pushed++
	return m.pushed - 1
}

func (m *model) cancelReady(pos int) bool {
	for i := range m.ready {
		if e := &m.ready[i]; e.pos == pos && !e.gone {
			e.gone = true
			return true
		}
	}
	return false
}

// cancelTimer takes timer id back, whether it is armed or in the batch.
func (m *model) cancelTimer(id int) bool {
	if i := slices.IndexFunc(m.timers, func(t modelTimer) bool { return t.id == id }); i >= 0 {
		m.timers = slices.Delete(m.timers, i, i+1)
		return true
	}
	return false
}

func (m *model) timeout(now int64) time.Duration {
	least := int64(Forever)
	for _, t := range m.timers {
		least = min(least, t.when)
	}
	switch {
	case m.stopping || len(m.ready) > 0:
		return 0
	case least == Forever:
		return -1
	}
	return min(max(0, time.Duration(least-now)), MaxWait)
}

func (m *model) digest(now int64) []modelItem {
	slices.SortStableFunc(m.timers, func(a, b modelTimer) int {
		switch {
		case a.when < b.when:
			return -1
		case a.when > b.when:
			return 1
		}
		return 0
	})
	for len(m.timers) > 0 && m.timers[0].when <= now && m.timers[0].when != Forever {
		m.push(m.timers[0].id)
		m.timers = m.timers[1:]
	}
	return m.ready
}

// deadlines are what the fuzzer arms timers for, relative to now.
var deadlines = [...]int64{0, 1, 2, 5, 5, 7, 10, 100, int64(time.Hour), int64(50 * time.Hour), -3, Forever}

// FuzzCore does the same to the core and to the model and compares all that
// can be seen: what runs, in which order, how long to wait, what cancelling
// answers. Each byte pair is one command.
func FuzzCore(f *testing.F) {
	f.Add([]byte{0, 1, 1, 3, 1, 4, 5, 0, 5, 9})
	f.Add([]byte{1, 0, 1, 0, 2, 0, 5, 1, 6, 0, 5, 0, 2, 1})
	f.Add(slices.Repeat([]byte{1, 7, 1, 4, 2, 3}, 120))
	f.Add(append(slices.Repeat([]byte{1, 7}, 130), append(slices.Repeat([]byte{7, 1}, 90), 5, 200)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		data = data[:min(len(data), 4096)] // the model is quadratic
		w := &twins{t: t}
		for len(data) >= 2 && !t.Failed() {
			w.do(data[0]%8, int(data[1]))
			data = data[2:]
		}
		for range 3 {
			w.turn(1 << 20)
		}
	})
}

// twins drives core and model side by side.
type twins struct {
	t      *testing.T
	core   Core
	model  model
	now    int64
	timers []*Timer
	places []uint64 // positions in the core's ready queue; both count alike
	ran    int
}

func (w *twins) do(command byte, arg int) {
	switch command {
	case 0: // a callback
		w.places = append(w.places, w.core.Ready.Push(w.item(-1-arg)))
		w.model.push(-1 - arg)
	case 1: // a new timer
		w.timers = append(w.timers, &Timer{})
		w.arm(len(w.timers)-1, arg)
	case 2, 7: // take a timer back; 7 takes the most recent ones
		if len(w.timers) > 0 {
			i := arg % len(w.timers)
			if command == 7 {
				i = len(w.timers) - 1 - min(w.ran%len(w.timers), arg%len(w.timers))
				w.ran++
			}
			w.compare("CancelTimer", w.core.CancelTimer(w.timers[i]), w.model.cancelTimer(i))
		}
	case 3: // take a callback back
		if len(w.places) > 0 {
			i := arg % len(w.places)
			w.compare("Cancel", w.core.Ready.Cancel(w.places[i]), w.model.cancelReady(i))
		}
	case 4: // stop
		w.core.Stop()
		w.model.stopping = true
	case 5:
		w.turn(int64(arg))
	case 6: // arm a known timer again
		if len(w.timers) > 0 {
			i := arg % len(w.timers)
			w.model.cancelTimer(i)
			w.arm(i, arg/len(w.timers))
		}
	}
}

func (w *twins) item(id int) Item { return Item{Run: func() {}, Meta: id} }

func (w *twins) arm(i, arg int) {
	when := deadlines[arg%len(deadlines)]
	if when != Forever {
		when += w.now
	}
	w.timers[i].Item = w.item(i)
	w.core.At(w.timers[i], when)
	w.model.timers = append(w.model.timers, modelTimer{i, when})
}

func (w *twins) compare(what string, got, want any) {
	w.t.Helper()
	if got != want {
		w.t.Fatalf("%s = %v, the model says %v", what, got, want)
	}
}

// turn lets time go by and runs one batch. Every third timer that is due takes
// another one of the batch back.
func (w *twins) turn(passed int64) {
	w.compare("Timeout", w.core.Timeout(w.now), w.model.timeout(w.now))
	w.invariants()
	w.now += passed
	n := w.core.Digest(w.now)
	batch := w.model.digest(w.now)
	w.compare("batch", n, len(batch))
	for len(w.places) < w.model.pushed { // timers took positions, too
		w.places = append(w.places, uint64(len(w.places)))
	}
	for i := range batch {
		got := w.core.Ready.Pop()
		w.compare("cancelled", got.Run == nil, batch[i].gone)
		if batch[i].gone {
			continue
		}
		batch[i].gone = true
		w.compare("callback", got.Meta, Meta(batch[i].id))
		if id := batch[i].id; id >= 0 && id%3 == 0 {
			w.cancelInBatch(batch[i+1:], id/3)
		}
	}
	w.core.Ready.Shrink()
	w.model.ready = w.model.ready[n:]
	w.compare("TakeStop", w.core.TakeStop(), w.model.stopping)
	w.model.stopping = false
}

// cancelInBatch takes back the first due timer of the rest of the batch.
func (w *twins) cancelInBatch(rest []modelItem, odd int) {
	for i := range rest {
		if rest[i].id < 0 || rest[i].gone || odd%2 == 0 {
			continue
		}
		if w.timers[rest[i].id].state != timerDue {
			continue // armed again meanwhile: the old item can no longer be named
		}
		rest[i].gone = true
		w.compare("CancelTimer in the batch", w.core.CancelTimer(w.timers[rest[i].id]), true)
		return
	}
}

// invariants checks what is written beside the fields.
func (w *twins) invariants() {
	h := &w.core.Timers
	dead := 0
	for i, e := range h.heap {
		if e.dead() {
			dead++
		}
		if i > 0 && e.before(h.heap[(i-1)/arity]) {
			w.t.Fatalf("slot %d is before its parent", i)
		}
	}
	w.compare("dead slots", h.cancelled, dead)
	q := &w.core.Ready
	if n := len(q.ring); q.tail-q.head > uint64(n) || n&(n-1) != 0 {
		w.t.Fatalf("ring of %d with %d items", n, q.tail-q.head)
	}
}
