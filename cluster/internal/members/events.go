package members

import (
	"context"
	"time"

	"github.com/loopmesh/loopmesh/cluster/events"
	"github.com/loopmesh/loopmesh/cluster/internal/membership"
	"github.com/loopmesh/loopmesh/cluster/internal/wait"
)

// What a program can follow of the membership. A subscription never slows the node:
// its queue is bounded, and a subscriber that does not keep up loses all of it at
// once and starts anew with Lagged and the members of that moment. Dropping single
// changes would leave it with members that are long gone.

var changeKinds = map[membership.EventKind]events.Kind{
	membership.Joined: events.Joined, membership.Suspect: events.Suspect, membership.Back: events.Back, membership.Dead: events.Dead, membership.Left: events.Left,
	membership.Fenced: events.Fenced, membership.Serving: events.Serving, membership.Lost: events.NameLost,
}

// public is an event as users see it. mu is held.
func (m *Members) public(e membership.Event) events.Event {
	now := time.Now()
	c := events.Event{Kind: changeKinds[e.Kind], Why: e.Why, Count: 1, Time: now, Member: events.Member{Name: e.ID.Name, Incarnation: e.ID.Incarnation, LastSeen: now}}
	if have, ok := m.machine.Find(e.ID.Name); ok && have.ID == e.ID {
		c.Member = m.member(have)
	} else if e.Kind == membership.Dead || e.Kind == membership.Left {
		c.Member.Joined, c.Member.LastSeen = m.at(e.Joined), m.at(e.Heard)
	}
	me := m.link.Self()
	c.Member.Self = e.ID.Name == me.Name
	return c
}

// maxChanges bounds what is kept for a subscriber that does not keep up.
const maxChanges = 1024

// Subscription is one stream of changes. Guarded by Members.mu.
//
// Invariant: a subscriber that applies Joined, Dead and Left to a set, and empties
// it at Lagged, has the members that this node has, as soon as the queue is empty.
type Subscription struct {
	members *Members
	queue   []events.Event
	lagged  bool
	over    bool
	wake    func() // called once, outside of order: something is there; nil: nobody waits
}

// Subscribe begins a stream with the members that there are.
func (m *Members) Subscribe() *Subscription {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &Subscription{members: m}
	m.subs[s] = struct{}{}
	s.present()
	return s
}

// present tells all members as Joined.
func (s *Subscription) present() {
	m, now := s.members, time.Now()
	for _, have := range m.machine.Members() {
		s.queue = append(s.queue, events.Event{Kind: events.Joined, Member: m.member(have), Count: 1, Time: now})
	}
}

// add appends a change. mu of Members is held; no change is lost between two, because
// each is added in the step that made it.
func (s *Subscription) add(c events.Event) {
	switch {
	case c.Kind == 0:
		return
	case s.lagged:
	case len(s.queue) >= maxChanges:
		s.queue, s.lagged = nil, true
	default:
		s.queue = append(s.queue, c)
	}
	s.signal()
}

// signal wakes who waits, once: the next wait sets wake again.
func (s *Subscription) signal() {
	if wake := s.wake; wake != nil {
		s.wake = nil
		wake()
	}
}

// take returns what is there. A stream that lagged begins anew here and not when it
// overflowed: what is told as Joined has to be true when it is read.
func (s *Subscription) take() []events.Event {
	if s.lagged {
		s.lagged = false
		s.queue = []events.Event{{Kind: events.Lagged, Count: 1, Time: time.Now(), Why: "this subscriber did not keep up"}}
		s.present()
	}
	out := s.queue
	s.queue = nil
	return out
}

// Next waits, in a task or a goroutine, until there are changes, and returns them in
// order. It returns nothing when the stream has ended, and why ctx has.
func (s *Subscription) Next(ctx context.Context) ([]events.Event, error) {
	for {
		w, err := wait.New[struct{}](ctx)
		if err != nil {
			return nil, err
		}
		s.members.mu.Lock()
		out, over := s.take(), s.over
		if len(out) == 0 && !over {
			s.wake = func() { w.Deliver(struct{}{}) }
		}
		s.members.mu.Unlock()
		if len(out) > 0 || over {
			return out, nil
		}
		if _, err := w.Wait(ctx); err != nil {
			return nil, err
		}
	}
}

// Notify calls wake, once, when there are changes; at once when there are. It runs
// under a lock of Members: it must not wait nor ask Members.
func (s *Subscription) Notify(wake func()) {
	s.members.mu.Lock()
	defer s.members.mu.Unlock()
	s.wake = wake
	if len(s.queue) > 0 || s.lagged || s.over {
		s.signal()
	}
}

// Take returns the changes that are there.
func (s *Subscription) Take() []events.Event {
	s.members.mu.Lock()
	defer s.members.mu.Unlock()
	return s.take()
}

// Cancel ends the stream.
func (s *Subscription) Cancel() {
	s.members.mu.Lock()
	defer s.members.mu.Unlock()
	delete(s.members.subs, s)
	s.over, s.queue = true, nil
	s.signal()
}

// EndSubscriptions ends all streams, after what is in them.
func (m *Members) EndSubscriptions() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for s := range m.subs {
		s.over = true
		s.signal()
	}
	clear(m.subs)
}
