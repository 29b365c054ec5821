package members

import (
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster/events"
	"github.com/loopmesh/loopmesh/cluster/internal/link"
	"github.com/loopmesh/loopmesh/cluster/internal/membership"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// Between the machine of package membership, which is pure, and the other parts. Every
// input (a frame, a tick, a notice of the server) goes through step; every output
// (frames, events) is carried out here, in order.

// step gives the machine one input, sends its messages, and tells its events. Any
// goroutine.
//
// Invariant: messages leave, and events are told, in the order in which the machine
// made them. Messages are sent under mu. Events are told outside of it, because who
// hears them asks back; whoever finds nobody telling tells all that wait.
func (m *Members) step(input func(machine *membership.Machine, now time.Duration)) {
	m.mu.Lock()
	input(m.machine, m.now())
	m.settle()
	if m.reporting {
		m.mu.Unlock()
		return
	}
	m.reporting = true
	for len(m.waiting) > 0 {
		todo := m.waiting
		m.waiting = nil
		m.mu.Unlock()
		for _, e := range todo {
			m.tell(e)
		}
		m.mu.Lock()
	}
	m.reporting = false
	m.mu.Unlock()
}

// settle carries out what the machine wants since its last step: it publishes until
// when this node may serve (read without the lock by Serving), sends messages, keeps
// events for step to tell, and wakes Run when the next tick has to come earlier. mu
// is held.
func (m *Members) settle() {
	out := m.machine.Take()
	if p := m.machine.Period(); p != m.period.Load() { // before it serves: who reads both knows of the period
		m.period.Store(p)
		m.fences.Add(1)
	}
	m.serveUntil.Store(int64(m.machine.ServeUntil()))
	for _, msg := range out.Messages {
		m.send(msg)
	}
	for _, e := range out.Events {
		m.note(e)
	}
	m.waiting = append(m.waiting, out.Events...)
	if out.Wake != m.wake {
		m.wake = out.Wake
		select {
		case m.wakes <- struct{}{}:
		default:
		}
	}
}

// note keeps what is read without asking the machine in step with it: the map of
// lives, the channel of Wait, the subscriptions. It runs under mu and before the
// events are told, so that whoever hears of a node finds it. mu is held.
func (m *Members) note(e membership.Event) {
	switch e.Kind {
	case membership.Joined:
		m.lives.Store(e.ID.Name, e.ID.Incarnation)
		m.endLookups(func(l lookup) bool { return l.name == e.ID.Name })
	case membership.Dead, membership.Left:
		m.lives.Delete(e.ID.Name)
	case membership.Fenced:
		m.fences.Add(1)
	}
	switch e.Kind {
	case membership.Joined, membership.Dead, membership.Left:
		close(m.changed)
		m.changed = make(chan struct{})
	}
	for s := range m.subs {
		s.add(m.public(e))
	}
}

// tell reports an event to the other parts and to the log. Not under mu: the parts end
// calls and watches, which call Members. A suspect is logged at debug level, since most
// of them come back.
func (m *Members) tell(e membership.Event) {
	peer := link.Peer{Name: e.ID.Name, Number: e.ID.Incarnation}
	log := func(level hclog.Level, text string) {
		m.log.Log(level, text, "member", e.ID.Name, "incarnation", e.ID.Incarnation, "why", e.Why)
	}
	switch e.Kind {
	case membership.Joined:
		m.log.Info("node joined", "member", e.ID.Name, "incarnation", e.ID.Incarnation)
		m.events.Joined(peer)
	case membership.Suspect:
		log(hclog.Debug, "node may be gone")
	case membership.Back:
		log(hclog.Debug, "node gives signs of life again")
	case membership.Dead:
		m.down.Add(1)
		log(hclog.Warn, "node is gone")
		m.events.Gone(peer, e.Why, false)
	case membership.Left:
		m.down.Add(1)
		log(hclog.Info, "node is gone")
		m.events.Gone(peer, e.Why, true)
	case membership.Full:
		if ok, more := m.quiet.Allow(); ok {
			m.log.Error("a node was not admitted", "member", e.ID.Name, "why", e.Why, "kept_back", more)
		}
	case membership.Fenced:
		m.log.Warn("this node serves nobody until it reaches the cluster again", "why", e.Why)
	case membership.Serving:
		m.log.Info("this node serves again")
		m.events.Serving()
	case membership.Claimed, membership.Refused:
		m.steps <- step{e.Kind, e.ID, e.Why} // one of them, once
	case membership.Lost:
		m.log.Error("this node must end: a newer node has its name", "its_incarnation", e.ID.Incarnation)
		m.events.Lost(e.ID.Incarnation)
	}
}

// Tokens behind the reply subject say what a "nobody is there" is about.
const (
	askToken   = "p-" // and the number of the question, -, incarnation, -, name
	probeToken = "n-" // nothing more
)

var kinds = map[membership.Kind]wire.Kind{
	membership.Probe: wire.Probe, membership.Claim: wire.Claim, membership.Refuse: wire.Refuse, membership.Beat: wire.Ping,
	membership.Ask: wire.Ask, membership.Answer: wire.Pong, membership.Goodbye: wire.Goodbye,
}

// send puts a message of the machine into a frame. Beats and claims go to everybody;
// all else goes to one incarnation, but a Probe, which goes to whoever has the name.
// Why a lost frame is no error here: the machine repeats what it needs, and judges by
// what comes back.
func (m *Members) send(msg membership.Message) {
	me := m.link.Self()
	f := &wire.Frame{Kind: kinds[msg.Kind], ID: msg.Seq, From: me.Name, FromNumber: me.Number}
	if msg.Announced {
		f.Standing |= wire.Announced
	}
	if msg.Held {
		f.Standing |= wire.Held
	}
	if msg.Outdated {
		f.Standing |= wire.Outdated
	}
	to := link.Peer{Name: msg.To.Name, Number: msg.To.Incarnation}
	switch msg.Kind {
	case membership.Probe:
		if err := m.link.SendToName(msg.To.Name, probeToken, f); err != nil {
			m.log.Debug("asking for a holder of the name failed", "error", err)
		}
	case membership.Claim:
		m.holdName()
		m.link.Broadcast(f)
	case membership.Beat:
		m.link.Broadcast(f)
	case membership.Goodbye: // one by one: each reads it behind the answers that were sent to it before
		for _, have := range m.machine.Members() {
			peer := link.Peer{Name: have.Name, Number: have.Incarnation}
			f.ID = m.events.Unseen(peer)
			m.link.Answer(peer, f)
		}
	case membership.Refuse:
		f.ID = msg.Other
		m.link.Answer(to, f)
	case membership.Ask:
		m.ask(to, f)
	default:
		m.link.Answer(to, f)
	}
}

// holdName subscribes the subject of the name: from now on this node answers those
// who want it. It happens with the first claim and not before, or its own Probe would
// find a listener.
func (m *Members) holdName() {
	if m.nameTaken {
		return
	}
	m.nameTaken = true
	if err := m.link.SubscribeName(); err != nil {
		m.log.Error("this node cannot hear who else wants its name", "error", err)
	}
}

// Heard takes a frame about membership. Its sender has been checked against the
// subject it came on (link.SenderFits): nobody speaks in another node's name.
func (m *Members) Heard(f *wire.Frame) {
	msg := membership.Message{
		From: membership.ID{Name: f.From, Incarnation: f.FromNumber}, Seq: f.ID,
		Announced: f.Standing&wire.Announced != 0, Held: f.Standing&wire.Held != 0, Outdated: f.Standing&wire.Outdated != 0,
	}
	me := m.link.Self()
	for kind, of := range kinds {
		if of == f.Kind {
			msg.Kind = kind
		}
	}
	msg.To = membership.ID{Name: me.Name, Incarnation: me.Number}
	if msg.Kind == membership.Refuse {
		msg.Seq, msg.Other = 0, f.ID
	}
	if f.From == me.Name && f.FromNumber != me.Number && (msg.Kind == membership.Claim || msg.Kind == membership.Beat || msg.Kind == membership.Probe) {
		m.conflicts.Add(1)
		m.Report(events.Conflict, link.Sender(f), "another process has, or wants, this node's name: "+msg.Kind.String())
	}
	m.step(func(machine *membership.Machine, now time.Duration) { machine.Step(now, msg) })
}
