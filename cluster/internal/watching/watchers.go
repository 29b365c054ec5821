package watching

import (
	"sync"
	"time"

	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/host"
	"github.com/loopmesh/loopmesh/cluster/internal/link"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// watchKey names a watch of another node.
type watchKey struct {
	from   string
	number uint64
	id     uint64
}

// watcher is somebody on another node who wants to know when a loop ends.
type watcher struct {
	loop  string
	ended error     // nil while the loop lives
	sent  time.Time // when the notice was last sent
}

// Watchers are the watches of other nodes on loops of this one. One that has ended
// stays, and its notice is repeated, until the other side has acknowledged it or
// its node is gone.
type Watchers struct {
	link  *link.Link
	loops *host.Table
	again time.Duration // between two sendings of what is not acknowledged

	mu    sync.Mutex
	byKey map[watchKey]*watcher
}

// maxWatchers bounds what other nodes can make this one remember.
const maxWatchers = 100_000

// NewWatchers makes an empty table.
func NewWatchers(l *link.Link, again time.Duration) *Watchers {
	return &Watchers{link: l, again: again, byKey: map[watchKey]*watcher{}}
}

// Watch says which loops can be watched; before anything is served.
func (t *Watchers) Watch(loops *host.Table) { t.loops = loops }

// Serve notes a watch and acknowledges it. A repeated one changes nothing.
func (t *Watchers) Serve(f *wire.Frame) {
	answer := &wire.Frame{Kind: wire.Result, ID: f.ID, Codec: wire.Raw}
	if err := t.add(watchKey{f.From, f.FromNumber, f.ID}, f); err != nil {
		answer = fault.Frame(f.ID, err)
	}
	t.link.Answer(f.From, answer)
}

func (t *Watchers) add(key watchKey, f *wire.Frame) error {
	me := t.link.Self()
	if f.Incarnation != 0 && f.Incarnation != me.Number {
		return fault.Codef(wire.DeadIncarnation, "the address means incarnation %d, the node lives as %d", f.Incarnation, me.Number)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.byKey[key] != nil:
		return nil
	case len(t.byKey) >= maxWatchers:
		return fault.Codef(wire.Busy, "%d watches are the limit", maxWatchers)
	case t.loops.Find(f.Path) == nil: // under mu: LoopEnded cannot slip in between
		return fault.Codef(wire.UnknownLoop, "node %s has no loop %q", me.Name, f.Path)
	}
	t.byKey[key] = &watcher{loop: f.Path}
	return nil
}

// Forget drops the watch that an Unwatch frame names.
func (t *Watchers) Forget(f *wire.Frame) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byKey, watchKey{f.From, f.FromNumber, f.ID})
}

// NodeDown drops the watches of a node that is gone.
func (t *Watchers) NodeDown(node string, number uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key := range t.byKey {
		if key.from == node && key.number == number {
			delete(t.byKey, key)
		}
	}
}

// LoopEnded tells everybody who watches the loop.
func (t *Watchers) LoopEnded(h *host.Loop) {
	name := h.Loop.Name()
	t.endWhere(host.End(h.Loop), func(w *watcher) bool { return w.loop == name })
}

// EndAll tells everybody: the node leaves.
func (t *Watchers) EndAll(why error) { t.endWhere(why, func(*watcher) bool { return true }) }

func (t *Watchers) endWhere(why error, match func(*watcher) bool) {
	t.tell(func(w *watcher) bool {
		if w.ended != nil || !match(w) {
			return false
		}
		w.ended = why
		return true
	})
}

// Resend repeats notices that were not acknowledged.
func (t *Watchers) Resend(now time.Time) {
	t.tell(func(w *watcher) bool { return w.ended != nil && now.Sub(w.sent) >= t.again })
}

func (t *Watchers) tell(which func(*watcher) bool) {
	type notice struct {
		to  string
		msg *wire.Frame
	}
	var notices []notice
	me, now := t.link.Self(), time.Now()
	t.mu.Lock()
	for key, w := range t.byKey {
		if which(w) {
			w.sent = now
			f := &wire.Frame{Kind: wire.Terminated, ID: key.id, From: me.Name, FromNumber: me.Number}
			fault.DescribeEnd(f, w.ended)
			notices = append(notices, notice{key.from, f})
		}
	}
	t.mu.Unlock()
	for _, m := range notices {
		t.link.Answer(m.to, m.msg)
	}
}

// Len is how many watches of others are remembered.
func (t *Watchers) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.byKey)
}
