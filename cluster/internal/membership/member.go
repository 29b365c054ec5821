package membership

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// The other nodes: how one becomes a member, how a sign of life counts, and what it
// takes to give one up. The rules and their reasons are in the package's text; this
// file carries them out.

// never is the time of what has not happened.
const never = time.Duration(-1)

// member is another node that has answered. Owned by Machine.
//
// Invariant: asked, absent, absences and ended speak of the time since quiet only. Each sign
// of life, and each stall of this node, starts them anew (forgive), so evidence never
// adds up over a time in which this node heard nothing.
type member struct {
	id     ID
	joined time.Duration
	heard  time.Duration // last sign of life
	beat   uint64        // the number of its last heartbeat
	quiet  time.Duration // since when silence counts: heard, or the end of an own stall
	asked  time.Duration // first question since then; never: none

	suspect  bool
	absent   time.Duration // first "nobody listens" since the last sign of life; never: none
	absences int           // how often since
	closed   bool          // the server says that the process closed its connection
	ended    bool          // a voter says that the process is gone
}

func (o *member) public() Member { return Member{o.id, o.joined, o.heard, o.suspect} }

// lives notes a sign of life.
func (o *member) lives(now time.Duration) {
	o.heard = now
	o.closed = false
	o.forgive(now)
}

// forgive starts the silence of the member anew; it stays a suspect.
func (o *member) forgive(now time.Duration) {
	o.quiet, o.asked, o.absent, o.absences, o.ended = now, never, never, 0, false
}

// sight takes a sign of life of an announced node with another name. answer is the
// question it answers, 0 when it answers none. An incarnation that is older than the
// known one gets a Refuse, and one that has left does not become a member again.
func (m *Machine) sight(now time.Duration, id ID, answer uint64) {
	have, newest := m.members[id.Name], m.newest(now, id.Name)
	switch {
	case m.formers.left(id, now-m.cfg.Heartbeat):
	case newest > id.Incarnation:
		m.refuse(id, newest)
	case have == nil || have.id.Incarnation < id.Incarnation:
		m.consider(now, id, answer)
	default:
		have.lives(now)
		if have.suspect {
			have.suspect = false
			m.report(Back, id, "")
		}
	}
}

// consider admits a node that has answered a question, and asks one that has not. The
// question goes to the subject of that incarnation, so its number is known to whoever
// listens there.
func (m *Machine) consider(now time.Duration, id ID, answer uint64) {
	c := m.candidates.byName[id.Name]
	if c == nil || c.id.Incarnation < id.Incarnation {
		m.questions++
		c = &candidate{id: id, question: m.questions}
		m.candidates.add(c, m.cfg.MaxCandidates)
		m.question(now, c)
		return
	}
	if c.id != id {
		return
	}
	c.seen = now
	switch {
	case answer != 0 && answer == c.question:
		m.admit(now, id)
	case now-c.asked >= m.cfg.Heartbeat/4:
		m.question(now, c)
	}
}

// question asks a candidate; the number stays the same when it is asked again, so a
// late answer still counts.
func (m *Machine) question(now time.Duration, c *candidate) {
	c.seen, c.asked = now, now
	m.send(Message{Kind: Ask, To: c.id, Seq: c.question})
}

// admit makes a candidate a member and ends the older incarnation of its name.
func (m *Machine) admit(now time.Duration, id ID) {
	beat := m.heardBeat(id, 0)
	m.candidates.remove(id.Name)
	if have := m.members[id.Name]; have != nil {
		m.remove(now, have, Dead, true, fmt.Sprintf("a newer node has its name, incarnation %d", id.Incarnation))
		m.refuse(have.id, id.Incarnation)
	}
	if len(m.members) >= m.cfg.MaxMembers {
		if !m.full {
			m.full = true
			m.report(Full, id, fmt.Sprintf("%d members are the limit", m.cfg.MaxMembers))
		}
		return
	}
	m.members[id.Name] = &member{id: id, joined: now, heard: now, beat: beat, quiet: now, asked: never, absent: never}
	m.report(Joined, id, "")
}

// remove ends a member. A node that was only given up may come back as the same
// incarnation: it may have been cut off. One that left or was replaced may not. certain:
// there is evidence that its process has ended, and not only that it is not heard of.
func (m *Machine) remove(now time.Duration, have *member, kind EventKind, certain bool, why string) {
	delete(m.members, have.id.Name)
	m.formers.add(have.id, former{have.id.Incarnation, now, kind == Left, certain, have.beat, false}, m.cfg.MaxFormers)
	m.full = false
	m.out.Events = append(m.out.Events, Event{Kind: kind, ID: have.id, Why: why, Joined: have.joined, Heard: have.heard})
}

// heardBeat notes the number of a heartbeat of a member or a candidate, and returns the
// highest one.
func (m *Machine) heardBeat(id ID, seq uint64) uint64 {
	if have := m.members[id.Name]; have != nil && have.id == id {
		have.beat = max(have.beat, seq)
		return have.beat
	}
	if c := m.candidates.byName[id.Name]; c != nil && c.id == id {
		c.beat = max(c.beat, seq)
		return c.beat
	}
	return 0
}

// goodbye takes the word of a node that it ends. Of a node that is neither member
// nor candidate it means nothing: an invented incarnation must not outrank a real one.
func (m *Machine) goodbye(now time.Duration, id ID) {
	if c := m.candidates.byName[id.Name]; c != nil && c.id == id {
		m.candidates.remove(id.Name)
	}
	if have := m.members[id.Name]; have != nil && have.id == id {
		m.remove(now, have, Left, true, "it left")
	}
}

// ask sends a question to a member. The server answers it when nobody listens.
func (m *Machine) ask(now time.Duration, have *member) {
	if have.asked == never {
		have.asked = now
	}
	m.questions++
	m.send(Message{Kind: Ask, To: have.id, Seq: m.questions})
}

// doubt makes a member a suspect.
func (m *Machine) doubt(have *member, why string) {
	if !have.suspect {
		have.suspect = true
		m.report(Suspect, have.id, why)
	}
}

// judge gives up members against which there is evidence of silence, and asks those
// in doubt. While the link is stalled it does neither: an answer could not be heard.
// In order of names, so that the same input always makes the same output.
func (m *Machine) judge(now time.Duration) {
	if !m.hears(now) {
		return
	}
	var doubtful []*member
	for _, have := range m.members {
		if have.suspect || now-have.quiet > m.cfg.QuietAfter {
			doubtful = append(doubtful, have)
		}
	}
	slices.SortFunc(doubtful, func(a, b *member) int { return strings.Compare(a.id.Name, b.id.Name) })
	kept := doubtful[:0]
	for _, have := range doubtful {
		silent := now - have.quiet
		if silent > m.cfg.QuietAfter {
			m.doubt(have, fmt.Sprintf("silent for %v", silent))
		}
		if m.silent(now, have) {
			m.remove(now, have, Dead, false, fmt.Sprintf("silent for %v, and it did not answer", m.cfg.DeadAfter))
			continue
		}
		kept = append(kept, have)
	}
	m.askInTurn(now, kept)
}

// askAtOnce is how many members are asked per tick when fewer are in doubt.
const askAtOnce = 16

// askInTurn asks members in doubt: all of them within four ticks.
func (m *Machine) askInTurn(now time.Duration, doubtful []*member) {
	n := min(len(doubtful), max(askAtOnce, (len(doubtful)+3)/4))
	for i := range n {
		m.ask(now, doubtful[(m.turn+i)%len(doubtful)])
	}
	m.turn += n
}

// silent reports evidence of silence: long enough, asked meanwhile, and a heartbeat
// of this node that was sent after that time has come back, so the answer would have
// come, too.
func (m *Machine) silent(now time.Duration, have *member) bool {
	if now-have.quiet < m.cfg.DeadAfter || have.asked == never {
		return false
	}
	return m.reached(now, have.quiet+m.cfg.DeadAfter) && m.proven(now)
}

// Absent says that the server found nobody on the subject of that incarnation. Once
// is a reason to ask again: a node that reconnects is absent for a moment. Twice,
// with patience between, is evidence.
func (m *Machine) Absent(now time.Duration, id ID) {
	m.advance(now)
	if c := m.candidates.byName[id.Name]; c != nil && c.id == id {
		m.candidates.remove(id.Name)
	}
	have := m.members[id.Name]
	if have == nil || have.id != id || m.over() {
		return
	}
	m.doubt(have, "nobody listens under its name")
	if !m.hears(now) || now < m.link.grace && !have.ended {
		return
	}
	if have.absent == never {
		have.absent = now
	}
	have.absences++
	patience := m.cfg.Patience
	if have.closed || have.ended {
		patience = m.cfg.Again
	}
	if have.absences >= 2 && now-have.absent >= patience {
		m.remove(now, have, Dead, have.closed || have.ended, "nobody listens under its name")
		return
	}
	m.wake(max(now+m.cfg.Again, min(have.absent+patience, now+m.cfg.Heartbeat/4)))
}

// Notice is the server's notice that the connection of a node has ended. closed:
// the process closed it, as the kernel does for a killed one; otherwise the server
// did, and the node is expected back. It is a reason to ask, never evidence: anybody
// may have sent it.
func (m *Machine) Notice(now time.Duration, id ID, closed bool) {
	m.advance(now)
	have := m.members[id.Name]
	if have == nil || have.id != id || m.over() || !m.link.up {
		return
	}
	have.closed = closed
	m.doubt(have, "the server says that its connection has ended")
	m.ask(now, have)
}

// Ended says that the process of a member is gone: a voter found that its machine refuses
// connections. Like a Notice it is a reason to ask and no evidence, since anybody may have
// said it. But who has ended is not on its way back: its absence counts without patience,
// and also while this node, which may have been a client of the ended one's server, gives
// others time to connect again.
func (m *Machine) Ended(now time.Duration, id ID) {
	m.advance(now)
	have := m.members[id.Name]
	if have == nil || have.id != id || m.over() || !m.link.up || have.ended {
		return
	}
	have.ended = true
	m.doubt(have, "a voter says that its process is gone")
	m.ask(now, have)
}
