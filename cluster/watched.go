package cluster

import (
	"sync"
	"time"

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

// watcherTable are the watches of other nodes. One that has ended stays until
// the other side has acknowledged the notice, or its node is gone.
type watcherTable struct {
	mu    sync.Mutex
	byKey map[watchKey]*watcher
}

// maxWatchers bounds what other nodes can make this one remember.
const maxWatchers = 100_000

func (t *watcherTable) init() { t.byKey = map[watchKey]*watcher{} }

// serveWatch notes a watch and acknowledges it. A repeated one changes nothing.
func (n *Node) serveWatch(f *wire.Frame) {
	answer := &wire.Frame{Kind: wire.Result, Codec: wire.Raw}
	if err := n.watchers.add(n, watchKey{f.From, f.FromNumber, f.ID}, f); err != nil {
		answer = errorFrame(err)
	}
	answer.ID = f.ID
	n.answer(n.subjects.of(f.From), answer)
}

func (t *watcherTable) add(n *Node, key watchKey, f *wire.Frame) error {
	if f.Incarnation != 0 && f.Incarnation != n.number {
		return codef(wire.DeadIncarnation, "the address means incarnation %d, the node lives as %d", f.Incarnation, n.number)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.byKey[key] != nil:
		return nil
	case len(t.byKey) >= maxWatchers:
		return codef(wire.Busy, "%d watches are the limit", maxWatchers)
	case n.loops.find(f.Path) == nil: // under mu: end cannot slip in between
		return codef(wire.UnknownLoop, "node %s has no loop %q", n.name, f.Path)
	}
	t.byKey[key] = &watcher{loop: f.Path}
	return nil
}

func (t *watcherTable) forget(key watchKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byKey, key)
}

func (t *watcherTable) forgetNode(node string, number uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key := range t.byKey {
		if key.from == node && key.number == number {
			delete(t.byKey, key)
		}
	}
}

// end tells everybody who watches the loop.
func (t *watcherTable) end(n *Node, loop string, why error) {
	t.endWhere(n, why, func(w *watcher) bool { return w.loop == loop })
}

func (t *watcherTable) endAll(n *Node, why error) {
	t.endWhere(n, why, func(*watcher) bool { return true })
}

func (t *watcherTable) endWhere(n *Node, why error, match func(*watcher) bool) {
	t.tell(n, func(w *watcher) bool {
		if w.ended != nil || !match(w) {
			return false
		}
		w.ended = why
		return true
	})
}

// resend repeats notices that were not acknowledged.
func (t *watcherTable) resend(n *Node, now time.Time) {
	t.tell(n, func(w *watcher) bool { return w.ended != nil && now.Sub(w.sent) >= n.cfg.Heartbeat })
}

func (t *watcherTable) tell(n *Node, which func(*watcher) bool) {
	type notice struct {
		to  string
		msg *wire.Frame
	}
	var notices []notice
	now := time.Now()
	t.mu.Lock()
	for key, w := range t.byKey {
		if which(w) {
			w.sent = now
			f := &wire.Frame{Kind: wire.Terminated, ID: key.id, From: n.name, FromNumber: n.number}
			describeEnd(f, w.ended)
			notices = append(notices, notice{n.subjects.of(key.from), f})
		}
	}
	t.mu.Unlock()
	for _, m := range notices {
		n.answer(m.to, m.msg)
	}
}
