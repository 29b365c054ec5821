package actors

import (
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/loopmesh/loopmesh/internal/guard"
)

// A watch joins a watcher to one actor. Two kinds of watcher exist: an actor
// (actorWatch) and a function (callbackWatch); a node that watches for others is the
// latter. Each watch is a value of its own, so that news of an old watch never ends a
// new one of the same actor.
//
// The watched actor keeps its watchers in its cell and tells each of them once,
// when it terminates. Invariant: a watchNote that was posted is answered exactly
// once: it becomes an entry of watchers, or it is refused with the reason of the
// actor's end. An actor of another node is watched by the node's watch protocol,
// see WatchRoute.

// watcher is told when a watched actor ends. Any goroutine. Comparable.
type watcher interface{ ended(reason error) }

// watchNote asks an actor to tell a watcher of its end; a system message.
type watchNote struct {
	by       watcher
	answered atomic.Bool
}

// refuse tells the watcher at once, unless addWatcher has taken the note.
func (w *watchNote) refuse(reason error) {
	if w.answered.CompareAndSwap(false, true) {
		w.by.ended(reason)
	}
}

// unwatchNote takes a watch back; a system message.
type unwatchNote struct{ by watcher }

// watchEnd brings an actor the news that one of its watches has ended.
type watchEnd struct {
	watch  *actorWatch
	reason error
}

func (c *cell) addWatcher(w *watchNote) {
	if !w.answered.CompareAndSwap(false, true) {
		return
	}
	if c.watchers == nil {
		c.watchers = make(map[watcher]uint64)
	}
	c.watchSeq++
	c.watchers[w.by] = c.watchSeq
}

func (c *cell) removeWatcher(by watcher) { delete(c.watchers, by) }

// tellWatchers tells each watcher once, in the order in which they came, then
// those whose watchNote still waits in the system queue. A watcher that is a
// function may panic or end the goroutine; the others are told all the same.
func (c *cell) tellWatchers(reason error, waiting *ring[any]) {
	all := c.watchers
	c.watchers = nil
	order := make([]watcher, 0, len(all))
	for w := range all {
		order = append(order, w)
	}
	slices.SortFunc(order, func(a, b watcher) int { return int(all[a]) - int(all[b]) })
	guard.Drain(func() bool {
		if len(order) > 0 {
			w := order[0]
			order = order[1:]
			w.ended(reason)
			return true
		}
		m, ok := waiting.pop()
		if ok {
			refuseSystem(m, reason)
		}
		return ok
	})
}

// actorWatch is a watch by an actor. Owned by the loop of by.
type actorWatch struct {
	by     *cell
	as     Ref    // the ref that was given to Watch
	cancel func() // takes the watch back
}

func (w *actorWatch) ended(reason error) { w.by.postSystem(&watchEnd{w, reason}) }

// notice hands Terminated to the actor, unless the watch was taken back.
func (c *cell) notice(t watchEnd) {
	if c.watching[t.watch.as] != t.watch || c.phase != alive {
		return
	}
	if c.suspended {
		c.held = append(c.held, t)
		return
	}
	delete(c.watching, t.watch.as)
	c.receive(envelope{msg: Terminated{Who: t.watch.as, Reason: t.reason}})
}

func (c *cell) watch(r Ref) {
	if _, ok := c.watching[r]; ok || r == c.ref() {
		return
	}
	if c.watching == nil {
		c.watching = make(map[Ref]*actorWatch)
	}
	w := &actorWatch{by: c, as: r}
	c.watching[r] = w // before it begins: the end may be known at once
	w.cancel = c.sys.watch(r, w)
}

func (c *cell) unwatch(r Ref) {
	if w, ok := c.watching[r]; ok {
		delete(c.watching, r)
		w.cancel()
	}
}

func (c *cell) unwatchAll() {
	for r := range c.watching {
		c.unwatch(r)
	}
	c.watching = nil
}

// callbackWatch is a watcher that is a function. Any goroutine.
type callbackWatch struct {
	sys  *System
	as   Ref
	fn   func(Terminated)
	once atomic.Bool // the end was told, or the watch was taken back
}

func (w *callbackWatch) ended(reason error) {
	if !w.once.CompareAndSwap(false, true) {
		return
	}
	t := Terminated{Who: w.as, Reason: reason}
	if p := guard.Call(func() { w.fn(t) }); p != nil {
		w.sys.log.Error("callback of Watch failed", "actor", t.Who.String(), "error", p, "stack", string(p.Stack))
	}
}

// Watch calls fn once when the actor has ended, or at once with ErrUnknown when
// nobody has that address. It does not wait. fn runs on the goroutine that ends the
// actor or receives the notice, usually the actor's loop: it must not block; a panic of
// it is logged. After cancel has returned, fn is not called any more unless it already
// runs. Any goroutine.
func (s *System) Watch(r Ref, fn func(Terminated)) (cancel func()) {
	if fn == nil {
		return func() {}
	}
	w := &callbackWatch{sys: s, as: r, fn: fn}
	stop := s.watch(r, w)
	return func() {
		if w.once.CompareAndSwap(false, true) {
			stop()
		}
	}
}

// watch begins a watch of r.
func (s *System) watch(r Ref, by watcher) (cancel func()) {
	c, here := s.find(r)
	switch {
	case c != nil:
		c.postSystem(&watchNote{by: by})
		return func() { c.postSystem(&unwatchNote{by}) }
	case here:
		by.ended(ErrUnknown)
		return func() {}
	}
	to := r.remote.Value()
	if route := s.watchRouter.Load(); route != nil {
		return (*route)(to, by.ended)
	}
	by.ended(fmt.Errorf("%w: %s: no node was started in this process", ErrNoRoute, to))
	return func() {}
}
