package membership

import (
	"slices"
	"strings"
	"time"
)

// The machine and its inputs. Every input begins with advance, which detects that this
// process stood still, before the silence of others is judged. Every output is
// collected in out until Take; no method calls a function of the owner.

// phase is the state of this node's claim to its own name.
type phase uint8

const (
	idle      phase = iota // never connected
	probing                // asks whether somebody listens as its name
	claiming               // waits for objections to its first claim
	holding                // has the name; not announced
	announced              // is a member
	refused                // the first claim failed: nothing more happens
	lost                   // a newer incarnation lives: nothing more happens
	left                   // said goodbye: nothing more happens
)

// Machine is the membership of one node. The caller serialises all calls; none waits.
// Times are of one monotonic clock, counted from the start of the process or from any
// other moment; they never go back.
//
// Invariant: wakeAt is 0 or the earliest time at which something is due that the
// usual ticks would see too late.
type Machine struct {
	cfg    Config
	self   ID
	phase  phase
	link   link
	claim  claim
	period uint64        // see Period
	ticked time.Duration // when Tick came last
	wakeAt time.Duration // when Tick must come at the latest; 0: at the usual time
	out    Output

	members    map[string]*member
	candidates candidates
	formers    formers
	questions  uint64
	turn       int  // where the round of questions stopped
	full       bool // Full was reported and not yet undone
}

// New makes the machine of one life of a node. It does nothing before Connected.
func New(cfg Config, self ID) *Machine {
	return &Machine{
		cfg: cfg, self: self, members: map[string]*member{}, claim: claim{witnesses: map[string]*witness{}},
		questions:  cfg.Secret,
		candidates: candidates{byName: map[string]*candidate{}},
		formers:    formers{byName: map[string]former{}},
	}
}

// Take returns what has to be done since the last Take, in order. Whoever drops an
// Output breaks the protocol: the machine counts its messages as sent.
func (m *Machine) Take() Output {
	out := m.out
	out.Wake = m.wakeAt
	m.out = Output{}
	return out
}

func (m *Machine) send(msg Message) {
	msg.From, msg.Announced = m.self, m.phase == announced
	m.out.Messages = append(m.out.Messages, msg)
}

func (m *Machine) report(kind EventKind, id ID, why string) {
	m.out.Events = append(m.out.Events, Event{Kind: kind, ID: id, Why: why})
}

// wake asks for a tick at that time, unless an earlier one is asked for.
func (m *Machine) wake(at time.Duration) {
	if m.wakeAt == 0 || at < m.wakeAt {
		m.wakeAt = at
	}
}

// over reports that nothing happens any more.
func (m *Machine) over() bool { return m.phase >= refused }

// established reports that the name is this node's.
func (m *Machine) established() bool { return m.phase == holding || m.phase == announced }

// advance comes before every input: it notices that this process stood still, and
// that the time is up until which the node may serve.
func (m *Machine) advance(now time.Duration) {
	if gap := now - m.ticked; m.phase != idle && gap > m.cfg.LateTick {
		m.ticked = now
		m.stalled(now, gap)
		if m.established() && m.link.up {
			m.beat(now)
		}
	}
	m.expire(now)
}

// Tick tells the time. The owner calls it four times per heartbeat, and when
// Output.Wake says so. It sends heartbeats and questions and judges silent members.
func (m *Machine) Tick(now time.Duration) {
	m.advance(now)
	m.ticked = now
	if m.wakeAt <= now {
		m.wakeAt = 0
	}
	if m.over() || !m.link.up {
		return
	}
	m.settle(now)
	if m.established() && now-m.link.beaten >= m.cfg.Heartbeat {
		m.beat(now)
	}
	m.candidates.forget(now - 2*m.cfg.Heartbeat)
	m.judge(now)
}

// Step takes a message of another node, or one of this node that came back.
func (m *Machine) Step(now time.Duration, msg Message) {
	m.advance(now)
	if m.over() {
		return
	}
	switch {
	case msg.From == m.self:
		if msg.Kind == Beat {
			m.echo(now, msg.Seq)
		}
	case msg.Kind == Refuse:
		m.refusal(now, msg)
	case msg.Kind == Probe: // its From has no standing yet
		m.probed(msg)
	case msg.From.Name == m.self.Name:
		m.rival(now, msg)
	default:
		m.heard(now, msg)
	}
}

// heard takes a message of a node with another name.
func (m *Machine) heard(now time.Duration, msg Message) {
	switch msg.Kind {
	case Claim:
		m.object(now, msg)
		if !msg.Held && m.phase == announced { // a node that starts: when it is through, it knows us
			m.send(Message{Kind: Answer, To: msg.From})
		}
		if msg.Announced {
			m.sight(now, msg.From, 0)
		}
		return
	case Goodbye:
		m.goodbye(now, msg.From)
		return
	case Ask:
		m.send(Message{Kind: Answer, To: msg.From, Seq: msg.Seq, Outdated: m.newest(now, msg.From.Name) > msg.From.Incarnation})
	case Answer:
		m.testimony(msg)
	}
	if msg.Announced {
		answer := uint64(0)
		if msg.Kind == Answer {
			answer = msg.Seq
		}
		m.sight(now, msg.From, answer)
		if msg.Kind == Beat {
			m.heardBeat(msg.From, msg.Seq)
		}
	}
}

// Announce makes the node a member for the others. Before, it only has its name.
func (m *Machine) Announce(now time.Duration) {
	m.advance(now)
	if m.phase == holding {
		m.phase = announced
		if m.link.up {
			m.beat(now)
		}
	}
}

// Leave says goodbye. The machine does nothing more.
func (m *Machine) Leave(now time.Duration) {
	m.advance(now)
	if m.over() {
		return
	}
	if m.established() {
		m.send(Message{Kind: Goodbye})
	}
	m.phase = left
}

// Inquire asks a node whether it lives, because somebody depends on it.
func (m *Machine) Inquire(now time.Duration, name string) {
	m.advance(now)
	if have := m.members[name]; have != nil && !m.over() && m.link.up {
		m.ask(now, have)
	}
}

// Patience changes Config.Patience: the owner has learned of another kind of server.
func (m *Machine) Patience(d time.Duration) { m.cfg.Patience = d }

// Member is another node as this one knows it.
type Member struct {
	ID
	Joined  time.Duration
	Heard   time.Duration // when it last gave a sign of life
	Suspect bool
}

// Members are the other nodes that are members, by name.
func (m *Machine) Members() []Member {
	out := make([]Member, 0, len(m.members))
	for _, have := range m.members {
		out = append(out, have.public())
	}
	slices.SortFunc(out, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Find is the member with that name.
func (m *Machine) Find(name string) (Member, bool) {
	if have := m.members[name]; have != nil {
		return have.public(), true
	}
	return Member{}, false
}

// Heard reports whether that incarnation is a member or a candidate.
func (m *Machine) Heard(id ID) bool {
	have, c := m.members[id.Name], m.candidates.byName[id.Name]
	return have != nil && have.id == id || c != nil && c.id == id
}

// Former tells of a name that is no member any more when it ended and whether it left by
// itself; ok is false when it was none, or that was forgotten (Config.MaxFormers).
func (m *Machine) Former(name string) (ended time.Duration, left, ok bool) {
	f, ok := m.formers.byName[name]
	return f.at, f.goodbye, ok
}

// Gone reports whether there was evidence that the process of that incarnation has ended:
// it said goodbye, its connection was closed and nobody listens, the voters found nobody
// where it listened, or a newer incarnation lives. One that was given up for its silence
// alone may be cut off, and live. What was forgotten is not known to be gone.
func (m *Machine) Gone(id ID) bool {
	if have := m.members[id.Name]; have != nil {
		return have.id.Incarnation > id.Incarnation
	}
	f := m.formers.byName[id.Name]
	return f.incarnation > id.Incarnation || f.incarnation == id.Incarnation && f.certain
}

// Period is the number of the first heartbeat that this node sends after it began to serve
// again; 0 when it has never been fenced.
func (m *Machine) Period() uint64 { return m.period }

// Covers reports whether the end of that incarnation, as this node knows it, ends what it
// did in a period of its (Period), too. One that was given up and is back serves in another
// period. Who has not heard a heartbeat of that period has given up an earlier one: news of
// the return may be late, or lost while servers had no route to each other. And what this
// node said of others before it was fenced counts for nothing: it may be the one that was
// cut off. An end that was forgotten counts.
func (m *Machine) Covers(id ID, period uint64) bool {
	if have := m.members[id.Name]; have != nil && have.id == id {
		return false
	}
	f, known := m.formers.byName[id.Name]
	if !known || f.incarnation != id.Incarnation || f.certain {
		return true
	}
	return !f.void && period <= f.beat
}

// Count is how many other nodes are members.
func (m *Machine) Count() int { return len(m.members) }
