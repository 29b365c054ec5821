package actors

import (
	"fmt"

	"github.com/loopmesh/loopmesh/internal/guard"
)

// Route carries a message to another node. It must not block. A sender with an
// empty Node is of this process: System.Export makes it an address for others.
// Besides users' messages it carries StopRequest, WithdrawRequest and Refusal. An
// error means that the message was not sent; an Ask, or the answer to one, then ends
// with that error.
type Route func(to Address, msg any, sender Ref) error

// WatchRoute is a node's watch protocol: it watches an actor of another node and
// calls ended exactly once with the reason, ErrNodeDown when the node has ended,
// ErrUnknown when nobody has that address. A notice that is lost on its way is
// repeated, also after a reconnect. It does not wait; ended may be called on any
// goroutine, also before the route returns, and not after cancel has returned
// unless it runs already. On the node of the actor, System.Watch is the other
// half.
type WatchRoute func(to Address, ended func(reason error)) (cancel func())

// RouteRemote says how messages leave for other nodes; nil takes it back. Any
// goroutine, at any time.
func (s *System) RouteRemote(r Route) {
	if r == nil {
		s.router.Store(nil)
		return
	}
	s.router.Store(&r)
}

// RouteWatches says how actors of other nodes are watched; nil takes it back. Without
// it such a watch ends at once with ErrNoRoute.
// Watches that stand keep the route they were made with. Any goroutine.
func (s *System) RouteWatches(w WatchRoute) {
	if w == nil {
		s.watchRouter.Store(nil)
		return
	}
	s.watchRouter.Store(&w)
}

// Identify tells the system its own name among nodes, so that addresses with
// that name and incarnation (or none) are of this process. An empty name takes
// it back: the system has left its node.
func (s *System) Identify(node string, incarnation uint64) {
	s.identity.Store(&Address{Node: node, Incarnation: incarnation})
}

// Identity is what Identify said; false when the system is on no node.
func (s *System) Identity() (node string, incarnation uint64, ok bool) {
	me := s.identity.Load()
	if me == nil || me.Node == "" {
		return "", 0, false
	}
	return me.Node, me.Incarnation, true
}

// Export is the address under which other nodes know r. A ref of another node
// keeps its address. Without Identify nothing is added.
func (s *System) Export(r Ref) Address {
	a := r.Address()
	if me := s.identity.Load(); me != nil && a.Node == "" && a.Path != "" {
		a.Node, a.Incarnation = me.Node, me.Incarnation
	}
	return a
}

func (s *System) isHere(a Address) bool {
	if a.Node == "" {
		return true
	}
	me := s.identity.Load()
	return me != nil && me.Node == a.Node && (a.Incarnation == 0 || a.Incarnation == me.Incarnation)
}

// Deliver hands a message from another node to the actor at an address here. It
// does not wait. Errors: ErrUnknown, ErrNoRoute for an address of another node
// or another life of this one, ErrMailboxFull, or the reason of the actor's end.
// An Ask of another node gets the error as its answer, too.
//
// taken, which may be nil, is called once when the message has left the mailbox,
// handled or dropped, on any goroutine; for what does not go into a mailbox it is
// called before Deliver returns, and not at all when Deliver returns an error. A
// node grants its senders credit by it.
//
// What one actor holds for other nodes is bounded by Options.RemoteLimit, each on
// its own: waiting messages, unanswered Asks, and requests that its loop has not
// handled yet.
func (s *System) Deliver(to Address, msg any, sender Ref, taken func()) error {
	queued, err := s.deliverFrom(to, msg, sender, taken)
	if err == nil && !queued && taken != nil {
		taken()
	}
	return err
}

// deliverFrom is Deliver; queued: the mailbox calls taken.
func (s *System) deliverFrom(to Address, msg any, sender Ref, taken func()) (queued bool, err error) {
	if !s.isHere(to) {
		return false, fmt.Errorf("%w: %s is not of this node", ErrNoRoute, to)
	}
	r := RefOf(Address{Path: to.Path})
	c, _ := s.find(r)
	switch m := msg.(type) {
	case StopRequest:
		if c != nil && int(c.systemCount.Load()) >= s.opts.RemoteLimit {
			return false, fmt.Errorf("%w: %s: %d requests wait for its loop", ErrMailboxFull, r, s.opts.RemoteLimit)
		}
		s.Stop(r)
		return false, nil
	case WithdrawRequest:
		s.withdraw(sender)
		return false, nil
	case Refusal:
		return false, s.send(r, envelope{m, sender})
	}
	from, err := s.asker(sender, c)
	if err != nil {
		s.deadLetter(r, envelope{msg, from}, err)
		return false, err
	}
	if c == nil {
		return false, s.send(r, envelope{msg, from}) // an answer to an Ask, or nobody
	}
	limit := s.opts.RemoteLimit
	if c.limit > 0 {
		limit = min(limit, c.limit)
	}
	if taken == nil {
		return false, c.deliverBelow(envelope{msg, from}, limit)
	}
	return true, c.deliverBelow(envelope{&counted{msg, taken}, from}, limit)
}

// NodeDown tells the system that a node has ended: open Asks of its actors end
// with ErrNodeDown at once, and Asks that it has made are forgotten. Its watches end
// through their WatchRoute. Incarnation zero means every life of the node. It does not
// wait. Any goroutine.
func (s *System) NodeDown(node string, incarnation uint64) {
	s.mu.Lock()
	var calls []func()
	for _, t := range s.registered {
		if q, ok := t.(*pendingAsk); ok && onNode(q.remote, node, incarnation) {
			reason := fmt.Errorf("%w: %s has ended before it answered", ErrNodeDown, q.remote)
			calls = append(calls, func() { q.settle(nil, reason) })
		}
	}
	for home, q := range s.remoteAsks {
		if onNode(home.Address(), node, incarnation) {
			calls = append(calls, func() { q.first(q) })
		}
	}
	s.mu.Unlock()
	guard.Drain(func() bool { // some call users' functions
		if len(calls) == 0 {
			return false
		}
		call := calls[0]
		calls = calls[1:]
		call()
		return true
	})
}

// onNode reports whether an address is of that life of that node; one without an
// incarnation means whichever life there is.
func onNode(a Address, node string, incarnation uint64) bool {
	return a.Node == node && (incarnation == 0 || a.Incarnation == 0 || a.Incarnation == incarnation)
}

// route sends to another node.
func (s *System) route(a Address, env envelope) error {
	r := s.router.Load()
	if r == nil {
		return fmt.Errorf("%w: %s: no node was started in this process", ErrNoRoute, a)
	}
	if q, ok := env.sender.at.(*pendingAsk); ok {
		q.sentTo(a)
	}
	return (*r)(a, env.msg, env.sender)
}
