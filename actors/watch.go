package actors

import (
	"slices"
	"sync/atomic"

	"github.com/loopmesh/loopmesh/internal/guard"
)

// watcher is told when a watched actor ends. Any goroutine. Comparable.
type watcher interface{ ended(Terminated) }

// watchKey is one watch: two refs of one actor are two watches.
type watchKey struct {
	by watcher
	as Ref // the ref that was watched, so that Terminated.Who is what the watcher holds
}

type watchNote struct {
	key      watchKey
	answered atomic.Bool
}

// refuse tells the watcher at once, unless the note was taken in the meantime.
func (w *watchNote) refuse(why error) {
	if w.answered.CompareAndSwap(false, true) {
		w.key.by.ended(Terminated{Who: w.key.as, Reason: why})
	}
}

type unwatchNote struct{ key watchKey }

type nodeNote struct {
	node        string
	incarnation uint64
}

func (c *cell) addWatcher(w *watchNote) {
	if !w.answered.CompareAndSwap(false, true) {
		return
	}
	if c.watchers == nil {
		c.watchers = make(map[watchKey]uint64)
	}
	if _, ok := c.watchers[w.key]; !ok {
		c.watchSeq++
		c.watchers[w.key] = c.watchSeq
	}
}

// tellWatchers tells each watcher once, in the order in which they came.
func (c *cell) tellWatchers(why error) {
	all := c.watchers
	c.watchers = nil
	keys := make([]watchKey, 0, len(all))
	for k := range all {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b watchKey) int { return int(all[a]) - int(all[b]) })
	for _, k := range keys {
		k.by.ended(Terminated{Who: k.as, Reason: why})
	}
}

// ended makes a cell a watcher.
func (c *cell) ended(t Terminated) { c.postSystem(&t) }

// notice hands Terminated to the actor if it still watches.
func (c *cell) notice(t Terminated) {
	as, ok := c.watched(t.Who)
	if !ok || c.phase != alive {
		return
	}
	t.Who = as
	if c.suspended {
		c.held = append(c.held, t)
		return
	}
	delete(c.watching, t.Who)
	c.receive(envelope{msg: t})
}

// watched gives the ref under which this actor watches r: a node says its
// incarnation in its answers, the watcher may have left it out.
func (c *cell) watched(r Ref) (Ref, bool) {
	if _, ok := c.watching[r]; ok {
		return r, true
	}
	if r.at != nil || r.IsZero() {
		return r, false
	}
	a := r.far.Value()
	a.Incarnation = 0
	loose := RefOf(a)
	_, ok := c.watching[loose]
	return loose, ok
}

func (c *cell) watch(r Ref) {
	if _, ok := c.watching[r]; ok || r == c.ref() {
		return
	}
	if c.watching == nil {
		c.watching = make(map[Ref]struct{})
	}
	c.watching[r] = struct{}{}
	c.sys.watch(watchKey{c, r}, c.ref())
}

func (c *cell) unwatch(r Ref) {
	if _, ok := c.watching[r]; ok {
		delete(c.watching, r)
		c.sys.unwatch(watchKey{c, r}, c.ref())
	}
}

func (c *cell) unwatchAll() {
	for r := range c.watching {
		c.unwatch(r)
	}
}

// nodeDown ends every watch of an actor on that life of that node.
func (c *cell) nodeDown(n *nodeNote) {
	for r := range c.watching {
		if r.at != nil {
			continue
		}
		if onNode(r.far.Value(), n.node, n.incarnation) {
			c.notice(Terminated{Who: r, Reason: ErrNodeDown})
		}
	}
}

// callbackWatcher is a watcher that is a function. It has an address of its own,
// so that news from another node can find it.
type callbackWatcher struct {
	tag
	as   Ref
	fn   func(Terminated)
	once atomic.Bool
}

func (w *callbackWatcher) ended(t Terminated) {
	if w.once.CompareAndSwap(false, true) {
		w.drop()
		if p := guard.Call(func() { w.fn(t) }); p != nil { // the next watchers must be told too
			w.sys.log.Error("callback of Watch failed", "actor", t.Who.String(), "error", p, "stack", string(p.Stack))
		}
	}
}

func (w *callbackWatcher) address() Address { return w.named(w) }

func (w *callbackWatcher) deliver(env envelope) error {
	if t, ok := env.msg.(Terminated); ok {
		w.ended(Terminated{Who: w.as, Reason: t.Reason})
	}
	return nil
}

// farWatcher is a watcher on another node.
type farWatcher struct {
	sys *System
	ref Ref
}

func (w farWatcher) ended(t Terminated) {
	_ = w.sys.send(w.ref, envelope{msg: t, sender: t.Who}) // a lost notice is in the dead letters
}

// Watch calls fn once when the actor has ended, or at once with ErrUnknown when
// nobody has that address. It does not wait. fn runs on the goroutine that
// brings the news, usually the actor's loop: it must not block; a panic of it is
// logged. After cancel has
// returned, fn is not called any more unless it already runs. Any goroutine.
func (s *System) Watch(r Ref, fn func(Terminated)) (cancel func()) {
	w := &callbackWatcher{tag: tag{sys: s}, as: r, fn: fn}
	key := watchKey{w, r}
	s.watch(key, Ref{at: w})
	return func() {
		if w.once.CompareAndSwap(false, true) {
			s.unwatch(key, Ref{at: w})
			w.drop()
		}
	}
}

// watch sends a watch to where r points. self is the watcher's own ref, for
// other nodes.
func (s *System) watch(key watchKey, self Ref) {
	c, here := s.find(key.as)
	switch {
	case c != nil:
		c.postSystem(&watchNote{key: key})
	case here:
		key.by.ended(Terminated{Who: key.as, Reason: ErrUnknown})
	default:
		_ = self.Address() // from here on the answer, or the node's end, finds the watcher
		if err := s.route(key.as.far.Value(), envelope{WatchRequest{}, self}); err != nil {
			key.by.ended(Terminated{Who: key.as, Reason: err})
		}
	}
}

func (s *System) unwatch(key watchKey, self Ref) {
	c, here := s.find(key.as)
	switch {
	case c != nil:
		c.postSystem(&unwatchNote{key: key})
	case here:
	default:
		_ = s.route(key.as.far.Value(), envelope{UnwatchRequest{}, self}) // nobody waits for it
	}
}
