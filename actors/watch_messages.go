package actors

import "fmt"

// Watching across nodes by plain messages, for a node without a WatchRoute: the
// watcher's system sends WatchRequest, the other one sends Terminated, once. A
// message that is lost is not repeated, so a node should set a WatchRoute, which
// acknowledges and repeats; this file goes when every node does.

// remoteWatcher is a watcher on another node. Comparable: a request that comes
// twice is one watch.
type remoteWatcher struct {
	sys *System
	ref Ref // the watcher
	as  Ref // the watched actor, as the request named it
}

func (w remoteWatcher) ended(reason error) {
	_ = w.sys.send(w.ref, envelope{msg: Terminated{Who: w.as, Reason: reason}, sender: w.as}) // a lost notice is in the dead letters
}

// nodeNote tells an actor that a node has ended; a system message.
type nodeNote struct {
	node        string
	incarnation uint64
}

func (s *System) watchByMessage(r Ref, by watcher, self Ref) (cancel func()) {
	to := r.remote.Value()
	_ = self.Address() // from here on the answer, or the node's end, finds the watcher
	if err := s.route(to, envelope{WatchRequest{}, self}); err != nil {
		by.ended(err)
		return func() {}
	}
	return func() { _ = s.route(to, envelope{UnwatchRequest{}, self}) } // nobody waits for it
}

// admitRemoteWatcher begins a watch of another node's, within the actor's limit.
// It is counted here, not when the actor takes it: the loop may stand still.
func (s *System) admitRemoteWatcher(c *cell, r, by Ref) {
	w := remoteWatcher{s, by, r}
	if c == nil {
		w.ended(ErrUnknown)
		return
	}
	if int(c.remoteWatchers.Add(1)) > s.opts.RemoteLimit {
		c.remoteWatchers.Add(-1)
		w.ended(fmt.Errorf("%w: %s has %d watchers on other nodes", ErrTooManyWatchers, r, s.opts.RemoteLimit))
		return
	}
	c.postSystem(&watchNote{by: w})
}

// uncount forgets a watcher on another node.
func (c *cell) uncount(w watcher) {
	if _, ok := w.(remoteWatcher); ok {
		c.remoteWatchers.Add(-1)
	}
}

// deliverEnd brings the end of an actor elsewhere to its watcher here.
func (s *System) deliverEnd(to Ref, t Terminated) error {
	switch w := s.targetAt(to.Address().Path).(type) {
	case *cell:
		w.postSystem(&remoteEnd{t})
	case *callbackWatch:
		w.ended(t.Reason)
	default:
		return fmt.Errorf("%w: %s, which watched %s", ErrUnknown, to, t.Who)
	}
	return nil
}

// remoteEnd is a Terminated of another node for an actor here; a system message.
type remoteEnd struct{ t Terminated }

// noticeRemote finds the watch that a notice of another node means: the node says
// its incarnation, the watcher may have left it out.
func (c *cell) noticeRemote(t Terminated) {
	w := c.watching[t.Who]
	if w == nil && t.Who.at == nil && !t.Who.IsZero() {
		a := t.Who.remote.Value()
		a.Incarnation = 0
		w = c.watching[RefOf(a)]
	}
	if w != nil {
		c.notice(watchEnd{w, t.Reason})
	}
}

// nodeDown ends the watches of actors on a node that has ended.
func (c *cell) nodeDown(n *nodeNote) {
	for r, w := range c.watching {
		if r.at == nil && !w.routed && onNode(r.remote.Value(), n.node, n.incarnation) {
			w.ended(ErrNodeDown) // a system message of its own: its handler may change the map
		}
	}
}

// watchersOf collects the function watches of actors on a node. Under mu.
func (s *System) watchersOf(node string, incarnation uint64) (list []*callbackWatch) {
	for _, t := range s.registered {
		w, ok := t.(*callbackWatch)
		if ok && w.as.at == nil && onNode(w.as.remote.Value(), node, incarnation) {
			list = append(list, w)
		}
	}
	return list
}
