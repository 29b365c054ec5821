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

	witnesses  map[string]*witness // by name; members only
	confronts  time.Duration       // since when confronted counts
	confronted int                 // newer incarnations that were asked since
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
			m.period = m.link.next + 1
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
//	established  | this node is refused    | newer one stays, when it answers
func (m *Machine) rival(now time.Duration, msg Message) {
	newer := msg.From.Incarnation > m.self.Incarnation
	starts := msg.Kind == Claim && !msg.Held
	switch {
	case msg.Kind == Goodbye:
	case m.established() && msg.Kind == Answer:
		if newer && msg.Seq == m.rivalQuestion(msg.From.Incarnation) {
			m.lose(msg.From.Incarnation)
		}
	case m.established() && msg.Kind == Ask:
		m.send(Message{Kind: Answer, To: msg.From, Seq: msg.Seq})
	case m.established() && (starts || !newer):
		m.refuse(msg.From, m.self.Incarnation)
	case m.established():
		m.confront(now, msg.From.Incarnation)
	case starts && newer:
		m.refuse(msg.From, m.self.Incarnation)
	case starts:
		m.refusedBy(msg.From, "it started at the same time, a little earlier")
	default:
		m.refusedBy(msg.From, "it has this name")
	}
}

// confront asks a node that speaks as a newer incarnation of this name. What has been
// heard may be of anybody; the answer is of somebody who listens on the subject of
// that incarnation. How often it asks is bounded: who invents incarnations must not
// make this node send without end.
func (m *Machine) confront(now time.Duration, newer uint64) {
	c := &m.claim
	if now-c.confronts >= m.cfg.Heartbeat/4 {
		c.confronts, c.confronted = now, 0
	}
	if c.confronted == askAtOnce || !m.link.up {
		return
	}
	c.confronted++
	m.send(Message{Kind: Ask, To: ID{m.self.Name, newer}, Seq: m.rivalQuestion(newer)})
}

// rivalQuestion is the number of the question to a newer incarnation of this name. It
// follows from the incarnation, so nothing has to be remembered of those that were
// invented, and from the secret, so that only who was asked can answer.
func (m *Machine) rivalQuestion(newer uint64) uint64 {
	x := m.cfg.Secret ^ newer*0x9e3779b97f4a7c15 // the mixer of SplitMix64
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x>>16 | 1 // not 0, which is no question
}

// refusal takes an objection to a claim, or the news that a newer incarnation has,
// or had, the name.
func (m *Machine) refusal(now time.Duration, msg Message) {
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
	case witness:
		m.examine(now, msg.From.Name, msg.Other)
	default:
		m.confront(now, msg.Other)
	}
}

// witness is a member that is said to know a newer incarnation of this node's name.
type witness struct {
	id       ID
	question uint64
	asked    time.Duration
	newer    uint64 // as it was said last, for people
	says     bool   // it has answered that it knows a newer one
}

// examine asks a member whether it really knows a newer incarnation of this node's
// name: anybody may have said so for it. A member is asked again when it is said to
// insist, at most four times per heartbeat; its last answer counts until then.
func (m *Machine) examine(now time.Duration, name string, newer uint64) {
	have := m.members[name]
	if have == nil || !m.link.up {
		return
	}
	w := m.claim.witnesses[name]
	switch {
	case w == nil || w.id != have.id:
		w = &witness{id: have.id}
		m.claim.witnesses[name] = w
	case now-w.asked < m.cfg.Heartbeat/4:
		return
	}
	m.questions++
	w.asked, w.question, w.newer = now, m.questions, newer
	m.send(Message{Kind: Ask, To: have.id, Seq: w.question})
}

// testimony takes the answer of a witness. This node has lost when more than half of
// the members say so. Why not one: a member can speak in its own name only, and one
// that lies must not end another node. Why they are heard at all: the newer one may
// have ended meanwhile, and to those who knew it this node can never be a member again.
func (m *Machine) testimony(msg Message) {
	w := m.claim.witnesses[msg.From.Name]
	if w == nil || w.id != msg.From || w.question != msg.Seq {
		return
	}
	if !msg.Outdated {
		delete(m.claim.witnesses, msg.From.Name)
		return
	}
	w.says = true
	count := 0
	for name, other := range m.claim.witnesses {
		if have := m.members[name]; have == nil || have.id != other.id {
			delete(m.claim.witnesses, name)
		} else if other.says {
			count++
		}
	}
	if m.established() && 2*count > len(m.members) {
		m.lose(w.newer)
	}
}

// lose fences this node for good.
func (m *Machine) lose(newer uint64) {
	m.phase = lost
	m.report(Lost, ID{m.self.Name, newer}, fmt.Sprintf("a newer node has the name %s", m.self.Name))
}

// object objects to a claim of a name of which a newer incarnation is known.
func (m *Machine) object(now time.Duration, msg Message) {
	if known := m.newest(now, msg.From.Name); known > msg.From.Incarnation {
		m.refuse(msg.From, known)
	}
}

// newest is the newest incarnation of a name that is a member, or was one not long ago;
// 0: none. Why not for ever: an older life that was cut off while a newer one came and
// went ends when more than half of the members have known the newer one. If fewer have,
// it lives, and those few must not keep it out for good.
func (m *Machine) newest(now time.Duration, name string) uint64 {
	known := m.formers.newest(name, now-m.cfg.Remember)
	if have := m.members[name]; have != nil {
		known = max(known, have.id.Incarnation)
	}
	return known
}
