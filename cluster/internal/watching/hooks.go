package watching

import (
	"time"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster/internal/host"
	"github.com/loopmesh/loopmesh/cluster/internal/watch"
)

// hook is one look at something of this node that others watch. Guarded by
// Watches.mu. Invariant: it is the hook of its path in Watches.hooks, or nobody
// waits for it any more and its end changes nothing.
type hook struct {
	path   string
	cancel func()
}

// obey begins or ends to look at a path.
func (t *Watches) obey(o watch.Order) {
	if o.Begin {
		t.begin(&hook{path: o.Path})
		return
	}
	t.mu.Lock()
	h := t.hooks[o.Path]
	delete(t.hooks, o.Path)
	t.mu.Unlock()
	if h != nil && h.cancel != nil {
		h.cancel()
	}
}

// begin watches a loop, or else the actor of that path: connections, children and
// the actors of users are actors. Nothing there is an end at once.
func (t *Watches) begin(h *hook) {
	t.mu.Lock()
	t.hooks[h.path] = h
	t.mu.Unlock()
	var cancel func()
	if home := t.loops.Find(h.path); home != nil {
		cancel = home.Loop.OnClose(func() { t.ended(h, host.End(home.Loop)) })
	} else {
		cancel = t.actors.Watch(t.actors.Ref(actors.Address{Path: h.path}), func(e actors.Terminated) { t.ended(h, e.Reason) })
	}
	t.mu.Lock()
	h.cancel = cancel
	t.mu.Unlock()
}

// ended says that what h looks at has ended. Any goroutine.
func (t *Watches) ended(h *hook, reason error) {
	t.step(func(now time.Duration) {
		if t.hooks[h.path] == h {
			delete(t.hooks, h.path)
			t.in.Ended(now, h.path, reason)
		}
	})
}
