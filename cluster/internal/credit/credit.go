// Package credit bounds what one node may have under way to one loop or actor of
// another node, and detects lost messages. The package is pure: it has no goroutine, no
// clock and no network.
//
// Core NATS has no backpressure: a server drops what a slow client does not read,
// and tells nobody. So nodes keep count themselves. A flow is what one node sends
// to one target. Its Sender numbers the messages and stamps each with what was
// sent before it. Its Receiver knows from the stamps what should have come, holds
// what has come until the target has taken it, and grants new credit then:
//
//	Sender                                     Receiver
//	sent ──────────── messages, stamped ─────▶ seen = taken or lost or refused, and held
//	done ◀─────────── Grant: seen − held ────  held: waits for the target's loop
//
// What is sent and not done is under way; it never exceeds the window, in messages
// and in bytes. One message larger than the window may go when nothing else is
// under way. All counters only grow, and a Grant and a Sync carry their absolute
// values: either may be lost, repeated or overtaken without harm.
//
// A loss is detected with the next message, whose stamp does not fit what was seen; at
// the end of a burst with Sync, which says how much was sent. What is lost counts as
// done, so a flow never waits for a message that does not come.
//
// Without the window a plain loop of CallSoon would fill the memory of the receiver
// or, worse, the buffers of the server, which disconnects the node then.
package credit

// Amount is a number of messages and what they cost together. As a position in a
// flow it is everything from its beginning.
type Amount struct{ Messages, Bytes uint64 }

// Overhead is what a message costs beside its payload: what is kept of it while it
// waits. It also bounds messages without payload.
const Overhead = 128

// Cost is what a message with a payload of that many bytes costs.
func Cost(payload int) uint64 { return uint64(payload) + Overhead }

// Initial is the window before the first Grant. It is part of the protocol.
var Initial = Amount{512, 128 << 10}

func (a Amount) plus(b Amount) Amount  { return Amount{a.Messages + b.Messages, a.Bytes + b.Bytes} }
func (a Amount) minus(b Amount) Amount { return Amount{a.Messages - b.Messages, a.Bytes - b.Bytes} }

// fits reports whether a message of that cost may come on top of what is under way.
func (a Amount) fits(cost uint64, window Amount) bool {
	return a.Messages == 0 || a.Messages < window.Messages && a.Bytes+cost <= window.Bytes
}

// Grant is what a Receiver tells a Sender.
type Grant struct {
	Done    Amount // is not under way any more
	Window  Amount // may be under way
	Lost    uint64 // messages of Done that never came
	Refused uint64 // messages of Done that came and did not run
}

// Sender is the sending half of a flow. Owned by whoever holds the flow's lock.
type Sender struct {
	sent   Amount
	last   Grant  // what the receiver said; Invariant: last.Done is not more than sent
	latest uint64 // cost of the newest message, for Undo
}

// NewSender makes the half of a new flow.
func NewSender() Sender { return Sender{last: Grant{Window: Initial}} }

// UnderWay is what was sent and is not done.
func (s *Sender) UnderWay() Amount { return s.sent.minus(s.last.Done) }

// Sent is everything that was sent, for a Sync.
func (s *Sender) Sent() Amount { return s.sent }

// Done is how much of it is not under way any more.
func (s *Sender) Done() Amount { return s.last.Done }

// Take uses credit for one message. It returns the stamp, which is what was sent
// before; ok is false when there is no credit.
func (s *Sender) Take(cost uint64) (stamp Amount, ok bool) {
	if !s.UnderWay().fits(cost, s.last.Window) {
		return Amount{}, false
	}
	stamp = s.sent
	s.sent = s.sent.plus(Amount{1, cost})
	s.latest = cost
	return stamp, true
}

// Undo takes the newest Take back: the message could not be sent. Once only.
func (s *Sender) Undo() { s.sent, s.latest = s.sent.minus(Amount{1, s.latest}), 0 }

// News is what a Grant changes.
type News struct{ Lost, Refused uint64 }

// Apply takes a Grant. ok is false for one that cannot be true: of another flow, or
// forged. An old one changes nothing.
func (s *Sender) Apply(g Grant) (news News, ok bool) {
	if g.Done.Messages > s.sent.Messages || g.Done.Bytes > s.sent.Bytes || g.Lost+g.Refused > g.Done.Messages {
		return News{}, false
	}
	last := &s.last
	if g.Done.Messages >= last.Done.Messages && g.Done.Bytes >= last.Done.Bytes {
		last.Done, last.Window = g.Done, g.Window
	}
	if g.Lost > last.Lost {
		news.Lost, last.Lost = g.Lost-last.Lost, g.Lost
	}
	if g.Refused > last.Refused {
		news.Refused, last.Refused = g.Refused-last.Refused, g.Refused
	}
	return news, true
}

// Receiver is the receiving half of a flow. Owned by whoever holds the flow's lock.
type Receiver struct {
	window  Amount
	limit   Amount // what the sender may believe to be its window
	seen    Amount // has come, or will never come
	held    Amount // has come and waits; Invariant: not more than seen
	lost    uint64
	refused uint64
	told    Grant // the newest Grant
}

// NewReceiver makes the half of a new flow that grants window.
func NewReceiver(window Amount) Receiver {
	limit := Amount{max(window.Messages, Initial.Messages), max(window.Bytes, Initial.Bytes)}
	return Receiver{window: window, limit: limit, told: Grant{Window: Initial}}
}

// Verdict is what becomes of a message that has come.
type Verdict uint8

// The verdicts.
const (
	Accept  Verdict = iota // it is held until Took or Refuse
	Repeat                 // it came before: drop it
	Overrun                // the sender had no credit for it: drop it; it is counted as refused
)

// Arrive notes a message by its stamp. missing is how many messages before it did
// not come.
func (r *Receiver) Arrive(stamp Amount, cost uint64) (v Verdict, missing uint64) {
	if stamp.Messages < r.seen.Messages {
		return Repeat, 0
	}
	missing = stamp.Messages - r.seen.Messages
	r.lost += missing
	r.seen = stamp.plus(Amount{1, cost})
	if !r.held.fits(cost, r.limit) {
		r.refused++
		return Overrun, missing
	}
	r.held = r.held.plus(Amount{1, cost})
	return Accept, missing
}

// Took notes that the target has taken messages that were held.
func (r *Receiver) Took(done Amount) { r.held = r.held.minus(done) }

// Refuse notes that a message that was held does not run.
func (r *Receiver) Refuse(cost uint64) {
	r.Took(Amount{1, cost})
	r.refused++
}

// Unran notes that a message that was taken did not run after all.
func (r *Receiver) Unran() { r.refused++ }

// Sync notes how much the sender had sent when it asked. missing is how many of
// these messages did not come.
func (r *Receiver) Sync(sent Amount) (missing uint64) {
	if sent.Messages <= r.seen.Messages {
		return 0
	}
	missing = sent.Messages - r.seen.Messages
	r.lost += missing
	r.seen = sent
	return missing
}

// Held is what has come and waits.
func (r *Receiver) Held() Amount { return r.held }

// Due reports whether the sender should hear at once: a quarter of its window is
// done. Why a quarter: one Grant for many messages, and the sender does not run dry
// while the Grant travels.
func (r *Receiver) Due() bool {
	progress := r.seen.minus(r.held).minus(r.told.Done)
	return progress.Messages >= quarter(r.told.Window.Messages) || progress.Bytes >= quarter(r.told.Window.Bytes)
}

func quarter(n uint64) uint64 { return max(n/4, 1) }

// Untold reports whether the sender has not heard of all that happened.
func (r *Receiver) Untold() bool { return r.grant() != r.told }

// Grant is what to tell the sender; it counts as told.
func (r *Receiver) Grant() Grant {
	r.told = r.grant()
	return r.told
}

func (r *Receiver) grant() Grant {
	return Grant{Done: r.seen.minus(r.held), Window: r.window, Lost: r.lost, Refused: r.refused}
}
