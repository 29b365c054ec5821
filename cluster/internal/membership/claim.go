package membership

import (
	"fmt"
	"time"
)

// claim is where this node stands with its name.
//
// The first claim has two steps. A Probe goes to the subject of the name, and the
// server says when nobody listens there. Then a Claim goes to everybody, and
// nobody may object within Settle. Why both: a holder that hangs is found by the
// first only; one that has started at the same moment, or is reconnecting, by the
// second only.
//
// A claim after a reconnect has the second step alone. The node goes on serving
// meanwhile, unless it was fenced: what reaches it was sent to this incarnation.
type claim struct {
	until   time.Duration // end of the step
	probes  int           // how often this claim has asked for the name
	pending bool          // claimed again, waits for objections
	expired bool          // fenced: does not serve

	witnesses map[string]uint64 // members that have known a newer incarnation of this name
}

// probesMost is how often a starting node asks who holds its name. Why more than
// once: the server may hand the first question to the connection of a holder that
// has just been killed, before it notices; then nobody answers and nobody is told
// that nobody listens. A holder that is there and stuck answers none of them.
const probesMost = 2

// begin starts the first claim.
func (m *Machine) begin(now time.Duration) {
	m.phase, m.claim.probes = probing, 0
	m.probe(now)
}

// probe asks who holds the name.
func (m *Machine) probe(now time.Duration) {
	m.claim.probes++
	m.claim.until = now + m.cfg.ProbeWait
	m.send(Message{Kind: Probe, To: ID{Name: m.self.Name}})
	m.wake(m.claim.until)
}

// NobodyHolds says that the server found nobody who listens as this node's name.
func (m *Machine) NobodyHolds(now time.Duration) {
	m.advance(now)
	if m.phase != probing || !m.link.up {
		return
	}
	m.phase = claiming
	m.claim.until = now + m.cfg.Settle
	m.send(Message{Kind: Claim})
	m.wake(m.claim.until)
}

// reclaim claims the name of an established node again.
func (m *Machine) reclaim(now time.Duration) {
	m.claim.pending, m.claim.until = true, now+m.cfg.Settle
	m.send(Message{Kind: Claim, Held: true})
	m.wake(m.claim.until)
}

// settle ends the step whose time is up.
func (m *Machine) settle(now time.Duration) {
	if now < m.claim.until {
		return
	}
	switch {
	case m.phase == probing && m.claim.probes < probesMost:
		m.probe(now)
	case m.phase == probing:
		m.refusedBy(ID{Name: m.self.Name}, "somebody listens as this name but does not answer")
	case m.phase == claiming:
		m.phase, m.link.proof = holding, now
		m.report(Claimed, m.self, "")
		m.beat(now)
	case m.claim.pending && m.link.fresh:
		m.claim.pending = false
		if m.claim.expired {
			m.claim.expired = false
			m.report(Serving, m.self, "")
		}
	}
}

func (m *Machine) refusedBy(holder ID, why string) {
	m.phase = refused
	m.report(Refused, holder, why)
}

// probed answers a node that wants to start under this node's name.
func (m *Machine) probed(msg Message) {
	if msg.To.Name == m.self.Name && (m.established() || m.phase == claiming) {
		m.refuse(msg.From, m.self.Incarnation)
	}
}

func (m *Machine) refuse(to ID, other uint64) {
	m.send(Message{Kind: Refuse, To: to, Other: other})
}

// rival takes a message of another node with this node's name.
//
//	the rival    | this node claims        | this node is established
//	claims       | lower one stays         | refused
//	established  | this node is refused    | newer one stays
func (m *Machine) rival(msg Message) {
	newer := msg.From.Incarnation > m.self.Incarnation
	starts := msg.Kind == Claim && !msg.Held
	switch {
	case msg.Kind == Goodbye:
	case m.established() && (starts || !newer):
		m.refuse(msg.From, m.self.Incarnation)
	case m.established():
		m.lose(msg.From.Incarnation)
	case starts && newer:
		m.refuse(msg.From, m.self.Incarnation)
	case starts:
		m.refusedBy(msg.From, "it started at the same time, a little earlier")
	default:
		m.refusedBy(msg.From, "it has this name")
	}
}

// refusal takes an objection to a claim, or the news that a newer incarnation has,
// or had, the name.
func (m *Machine) refusal(msg Message) {
	if msg.To != m.self || msg.Other == m.self.Incarnation {
		return
	}
	holder, witness := ID{m.self.Name, msg.Other}, msg.From.Name != m.self.Name
	switch {
	case witness && (msg.Other < m.self.Incarnation || msg.Other-m.self.Incarnation > m.cfg.MaxAhead):
	case m.phase == probing || m.phase == claiming:
		why := "it has this name"
		if witness {
			why = "a later incarnation of this name was known; is the clock of this machine right?"
		}
		m.refusedBy(holder, why)
	case !m.established() || msg.Other < m.self.Incarnation:
	case !witness || m.testified(msg.From.Name, msg.Other):
		m.lose(msg.Other)
	}
}

// testified notes that a member has known a newer incarnation of this node's name,
// and reports whether more than half of the members say so. Why not one: a member
// can speak in its own name only, and one that lies must not end another node. The
// newer node itself is believed at once.
func (m *Machine) testified(witness string, newer uint64) bool {
	if m.members[witness] == nil {
		return false
	}
	m.claim.witnesses[witness] = newer
	count := 0
	for name, n := range m.claim.witnesses {
		if m.members[name] == nil {
			delete(m.claim.witnesses, name)
		} else if n == newer {
			count++
		}
	}
	return 2*count > len(m.members)
}

// lose fences this node for good.
func (m *Machine) lose(newer uint64) {
	m.phase = lost
	m.report(Lost, ID{m.self.Name, newer}, fmt.Sprintf("a newer node has the name %s", m.self.Name))
}

// witness objects to a claim of a name of which a newer incarnation is known.
func (m *Machine) witness(msg Message) {
	known := m.formers.newest(msg.From.Name)
	if have := m.members[msg.From.Name]; have != nil {
		known = max(known, have.id.Incarnation)
	}
	if known > msg.From.Incarnation {
		m.refuse(msg.From, known)
	}
}
