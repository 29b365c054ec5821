package loopnode

import "sort"

// CallbackID names one registered done callback: functions cannot be compared
// in Go.
type CallbackID uint64

// doneCall is one done callback: a function to call, or a task to wake.
type doneCall struct {
	id CallbackID // 0: no entry
	fn func()     // nil: wake the task by
	by *future    // what waits through it, for the call graph; nil for a plain function
	at uintptr    // the user's function inside fn; 0 when it is fn itself
}

// live reports whether c is an entry that was not removed.
func (c doneCall) live() bool { return c.fn != nil || c.by != nil }

// doneCalls are the done callbacks of one future, in the order they were added.
// Owned by the loop goroutine.
//
// Most futures have one, which needs no memory of its own. The others are in a
// slice that is sorted by id, because ids grow, so that one is found by halving.
// A removed one stays as a tombstone, an entry that is not live; the slice is
// compacted when half of it is tombstones. So removing n callbacks of one future,
// for instance when n tasks that wait for it are cancelled, costs n log n and not
// n squared.
type doneCalls struct {
	first doneCall
	more  []doneCall
	dead  int // Invariant: the number of tombstones in more.
	last  CallbackID
}

// compactAbove keeps short slices from being compacted again and again.
const compactAbove = 32

// add registers c and returns its id. Invariant: first is the oldest entry: it is
// used only while nothing is in more.
func (d *doneCalls) add(c doneCall) CallbackID {
	d.last++
	c.id = d.last
	if d.first.id == 0 && len(d.more) == 0 {
		d.first = c
	} else {
		d.more = append(d.more, c)
	}
	return c.id
}

// remove takes the entry id out and reports whether it was there.
func (d *doneCalls) remove(id CallbackID) bool {
	if id != 0 && d.first.id == id {
		d.first = doneCall{}
		return true
	}
	i := sort.Search(len(d.more), func(i int) bool { return d.more[i].id >= id })
	if i == len(d.more) || d.more[i].id != id || !d.more[i].live() {
		return false
	}
	d.more[i] = doneCall{id: id}
	if d.dead++; len(d.more) > compactAbove && d.dead*2 > len(d.more) || d.dead == len(d.more) {
		d.compact()
	}
	return true
}

// compact drops the tombstones, and memory that is not needed any more.
func (d *doneCalls) compact() {
	kept := make([]doneCall, 0, len(d.more)-d.dead)
	for _, c := range d.more {
		if c.live() {
			kept = append(kept, c)
		}
	}
	d.more, d.dead = kept, 0
}

// take empties d and returns what was in it.
func (d *doneCalls) take() doneCalls {
	taken := *d
	d.first, d.more, d.dead = doneCall{}, nil, 0
	return taken
}

// all lists the live entries in order.
func (d *doneCalls) all() []doneCall {
	var out []doneCall
	for _, c := range append([]doneCall{d.first}, d.more...) {
		if c.live() {
			out = append(out, c)
		}
	}
	return out
}

func (f *future) onDone(fn func()) CallbackID { return f.register(doneCall{fn: fn}) }

// onDoneFor is onDone for what waits on behalf of by.
func (f *future) onDoneFor(by *future, fn func()) CallbackID {
	return f.register(doneCall{fn: fn, by: by})
}

// register adds c, or queues it at once when f is done.
func (f *future) register(c doneCall) CallbackID {
	if f.state != pending {
		f.calls.last++
		f.loop.fire(c)
		return f.calls.last
	}
	return f.calls.add(c)
}

// forget removes one done callback and returns how many that were.
func (f *future) forget(id CallbackID) int {
	if f.calls.remove(id) {
		return 1
	}
	return 0
}
