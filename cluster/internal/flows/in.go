package flows

import (
	"sync"
	"sync/atomic"

	"github.com/loopmesh/loopmesh/cluster/internal/credit"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/link"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// The receiving half. A frame that takes credit passes Arrived on the receiving
// goroutine, which says whether it is accepted. For each accepted frame Took or Refuse
// must follow, when the loop takes it. Credit comes back at that moment and not at
// arrival: so what waits for a stuck loop uses up the sender's window, and the sender
// stops.
//
// When is the sender told? At once when a good part of the window is free or
// something was asked; otherwise with the next sweep, so that a slow stream of
// messages does not cost an answer each.
//
// Locks: Inflow.mu may be held when In.mu is taken, never the other way round.

// Window is what one node may have under way to one loop or actor here. Why not
// more: it is memory that each sender can make each stuck loop hold. Why not less:
// it is sent within one round trip, so it bounds the speed across a long line.
var Window = credit.Amount{Messages: 2048, Bytes: 512 << 10}

// What one node can make this one hold, all its lives together: else it could begin a flow
// for each window that it wants to fill.
const (
	maxIn   = 1 << 16  // flows that are remembered
	maxHeld = 64 << 20 // what came in its flows and waits, as it costs (credit.Cost)
)

// In are the flows of other nodes. Any goroutine.
type In struct {
	link *link.Link

	mu     sync.Mutex
	byKey  map[inKey]*Inflow
	latest *Inflow          // the one that was found last, while it is in byKey
	byNode map[string]*held // by name; Invariant: a node with flows, or with something that waits, is in it
	dirty  []*Inflow        // whose Credit waits for the next sweep

	events InEvents

	gaps, overruns, repeats atomic.Uint64
}

type sender struct {
	node   string
	number uint64
}

// held is what one node makes this one hold.
type held struct {
	flows int           // guarded by In.mu
	cost  atomic.Uint64 // of what waits, also in flows that are forgotten
}

// enter adds what has come, unless it is too much. The first one may have any size.
func (h *held) enter(cost uint64) bool {
	if now := h.cost.Add(cost); now > maxHeld && now > cost {
		h.leave(cost)
		return false
	}
	return true
}

// leave takes back what does not wait any more.
func (h *held) leave(cost uint64) { h.cost.Add(-cost) }

type inKey struct {
	from sender
	flow uint64
}

// InCounters are what In has counted.
type InCounters struct {
	Missing uint64 // messages that never came
	Overrun uint64 // messages beyond the credit of their sender
	Repeats uint64 // messages that came twice
	Flows   int
	Held    uint64 // what waits, as it costs
}

// InEvents are what In asks and tells. They do not wait.
type InEvents struct {
	Admit func(link.Peer) bool                 // may this life of a node begin a flow?
	Gap   func(from link.Peer, missing uint64) // messages of it never came
}

// NewIn makes an empty table.
func NewIn(l *link.Link, events InEvents) *In {
	return &In{link: l, events: events, byKey: map[inKey]*Inflow{}, byNode: map[string]*held{}}
}

// Inflow is what one node sends to one target here. It does not know the target: the
// sender's number tells flows apart, and the frame says where it goes.
type Inflow struct {
	in   *In
	key  inKey
	held *held // of its node

	mu     sync.Mutex
	half   credit.Receiver
	reason error // of the last refusal
	dirty  bool  // in In.dirty
	over   bool  // its node is gone: nobody is told
}

// Arrived notes a frame that takes credit. The caller has to say Took or Refuse for
// it. nil: the frame is to be dropped; what is to be told has been told.
func (i *In) Arrived(f *wire.Frame) *Inflow {
	fl := i.flow(f)
	if fl == nil {
		return nil
	}
	fl.mu.Lock()
	defer fl.mu.Unlock()
	verdict, missing := fl.half.Arrive(credit.Amount(f.At), credit.Cost(len(f.Payload)))
	if i.missing(f, missing) {
		fl.noteLocked()
	}
	switch verdict {
	case credit.Accept:
		cost := credit.Cost(len(f.Payload))
		if fl.held.enter(cost) {
			return fl
		}
		i.overruns.Add(1)
		fl.half.Refuse(cost)
		fl.reason = fault.Codef(wire.Busy, "%w: this node holds %d MiB of messages of node %s that wait for their loops", fault.ErrBusy, maxHeld>>20, f.From)
		fl.noteLocked()
	case credit.Overrun:
		i.overruns.Add(1)
		fl.reason = fault.Codef(wire.NoCredit, "%w: this node had not granted credit for it", fault.ErrNoCredit)
		fl.noteLocked()
	case credit.Repeat:
		i.repeats.Add(1)
	}
	return nil
}

// missing counts and tells messages that never came; true when there are any. It is
// called under the lock of the flow, so that the gap is told before what came behind it
// is accepted.
func (i *In) missing(f *wire.Frame, n uint64) bool {
	if n == 0 {
		return false
	}
	i.gaps.Add(n)
	i.events.Gap(link.Sender(f), n)
	return true
}

// flow finds the flow of a frame, or makes it. nil: its node has maxIn of them, or is no
// member and may not begin one, and the frame is dropped; a sender has the same limit of
// its own.
func (i *In) flow(f *wire.Frame) *Inflow {
	key := inKey{sender{f.From, f.FromNumber}, f.Flow}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.latest != nil && i.latest.key == key { // the next frame is mostly of the same flow
		return i.latest
	}
	if fl := i.byKey[key]; fl != nil {
		i.latest = fl
		return fl
	}
	of := i.byNode[key.from.node]
	if of != nil && of.flows >= maxIn || !i.events.Admit(link.Sender(f)) {
		i.overruns.Add(1)
		return nil
	}
	if of == nil {
		of = &held{}
		i.byNode[key.from.node] = of
	}
	of.flows++
	fl := &Inflow{in: i, key: key, held: of, half: credit.NewReceiver(Window)}
	i.byKey[key] = fl
	return fl
}

// Took notes that the target has taken messages.
func (fl *Inflow) Took(done credit.Amount) {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	fl.held.leave(done.Bytes)
	fl.half.Took(done)
	fl.noteLocked()
}

// Refuse notes that a message does not run, and why. Its credit comes back all the
// same: a refused message holds no memory. Of several refusals between two Credits
// the sender hears their number and the last reason.
func (fl *Inflow) Refuse(cost uint64, why error) {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	fl.held.leave(cost)
	fl.half.Refuse(cost)
	fl.reason = why
	fl.noteLocked()
}

// Unran notes that a message that the target has taken did not run after all.
func (fl *Inflow) Unran(why error) {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	fl.half.Unran()
	fl.reason = why
	fl.noteLocked()
}

// noteLocked tells the sender at once when a good part of its window is free, else
// with the next sweep.
func (fl *Inflow) noteLocked() {
	switch {
	case fl.over:
	case fl.half.Due():
		fl.tellLocked()
	case !fl.dirty && fl.half.Untold():
		fl.dirty = true
		fl.in.mu.Lock()
		fl.in.dirty = append(fl.in.dirty, fl)
		fl.in.mu.Unlock()
	}
}

// tellLocked sends the sender what it may know now: all figures count from the
// beginning of the flow, so a Credit that is lost is made good by the next one.
func (fl *Inflow) tellLocked() {
	g, me := fl.half.Grant(), fl.in.link.Self()
	f := &wire.Frame{Kind: wire.Credit}
	if fl.reason != nil {
		fault.Describe(f, fl.reason)
	}
	f.From, f.FromNumber, f.Flow = me.Name, me.Number, fl.key.flow
	f.At, f.Window, f.Lost, f.Refused = wire.Amount(g.Done), wire.Amount(g.Window), g.Lost, g.Refused
	fl.in.link.Answer(link.Peer{Name: fl.key.from.node, Number: fl.key.from.number}, f)
}

// Synced answers a Sync, which says how much was sent. It arrives behind all that it
// counts, in the same order of frames: what has not come by now never will, and
// counts as lost.
func (i *In) Synced(f *wire.Frame) {
	fl := i.flow(f)
	if fl == nil {
		return
	}
	fl.mu.Lock()
	defer fl.mu.Unlock()
	i.missing(f, fl.half.Sync(credit.Amount(f.At)))
	fl.tellLocked()
}

// Sweep tells what was not told at once, and forgets nodes of which nothing is left.
func (i *In) Sweep() {
	i.mu.Lock()
	dirty := i.dirty
	i.dirty = nil
	for name, h := range i.byNode {
		if h.flows == 0 && h.cost.Load() == 0 {
			delete(i.byNode, name)
		}
	}
	i.mu.Unlock()
	for _, fl := range dirty {
		fl.mu.Lock()
		fl.dirty = false
		if fl.half.Untold() && !fl.over {
			fl.tellLocked()
		}
		fl.mu.Unlock()
	}
}

// EndFlow forgets a flow that its sender does not use any more.
func (i *In) EndFlow(f *wire.Frame) {
	i.mu.Lock()
	defer i.mu.Unlock()
	key := inKey{sender{f.From, f.FromNumber}, f.Flow}
	if i.byKey[key] != nil {
		i.forgetLocked(key)
	}
}

// forgetLocked keeps byNode equal to the entries of byKey.
func (i *In) forgetLocked(key inKey) {
	i.byKey[key].held.flows--
	delete(i.byKey, key)
	i.latest = nil
}

// NodeDown forgets the flows of a node that is gone. What has come and waits still
// runs.
func (i *In) NodeDown(peer link.Peer) {
	var gone []*Inflow
	i.mu.Lock()
	for key, fl := range i.byKey {
		if key.from == (sender{peer.Name, peer.Number}) {
			gone = append(gone, fl)
			i.forgetLocked(key)
		}
	}
	i.mu.Unlock()
	for _, fl := range gone {
		fl.mu.Lock()
		fl.over = true
		fl.mu.Unlock()
	}
}

// Counters reads what was counted.
func (i *In) Counters() InCounters {
	c := InCounters{Missing: i.gaps.Load(), Overrun: i.overruns.Load(), Repeats: i.repeats.Load()}
	i.mu.Lock()
	defer i.mu.Unlock()
	c.Flows = len(i.byKey)
	for _, h := range i.byNode {
		c.Held += h.cost.Load()
	}
	return c
}
