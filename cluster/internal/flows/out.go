// Package flows sends calls without an answer and messages of actors under credits
// (package credit): Out holds the flows of this node to targets elsewhere, In those
// of other nodes to targets here.
//
// A flow is of one target, so a stuck loop or actor stops only what is sent to it.
// Credit and Sync frames take no credit themselves.
package flows

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/loopmesh/loopmesh/cluster/internal/credit"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
	"github.com/loopmesh/loopmesh/cluster/internal/link"
	"github.com/loopmesh/loopmesh/cluster/internal/wait"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// How a message leaves. Send finds the flow of its target and asks the flow's sender
// (package credit) for credit. With credit the message gets its stamp and is posted
// to the outbox of its node; without, it waits in queue, or is refused where the
// caller may not wait. A Credit frame of the other node gives credit back, and
// pumpLocked sends what waits.
//
// How failures are detected: a gap in the stamps, or a refusal, comes back in a Credit
// and is reported to lost; when a Credit does not come (it may have been lost itself), a
// Sync asks for one, from Sweep after a second without progress and after each
// reconnect. So every message ends as taken, lost, refused, or under way when its node
// went down.
//
// Locks: mu is for the tables, flow.mu for one flow; they are never held together.
// Posting happens under flow.mu, because stamps have to leave in their order; it only
// appends to a buffer, or publishes when the buffer is full.

// Loss says that messages to a target did not run, or may not have run.
type Loss struct {
	Target string // node/loop or node/actor
	Count  uint64
	Reason error // ErrLost, ErrNodeDown, or why the target's node refused the last one
}

const (
	maxOut    = 1 << 16         // flows of this node; more only when idle ones can go
	idleAfter = time.Minute     // after which an unused flow is forgotten
	syncAfter = 1 * time.Second // without progress, after which the other side is asked
	maxQueue  = 1 << 16         // who may wait for credit of one flow
)

// Out are the flows of this node. Any goroutine.
type Out struct {
	link *link.Link
	lost func(Loss)

	mu     sync.RWMutex
	byKey  map[outKey]*flow
	byID   map[uint64]*flow
	next   uint64 // number of the newest flow
	closed bool

	losses, refusals, waits atomic.Uint64
}

// outKey is a target: a path in one life of a node. Another life has another flow,
// since it knows nothing of what its predecessor had taken.
type outKey struct {
	node   string
	number uint64
	path   string
}

func (k outKey) peer() link.Peer { return link.Peer{Name: k.node, Number: k.number} }

// OutCounters are what Out has counted.
type OutCounters struct {
	Lost    uint64 // never arrived, or the node went down before it said so
	Refused uint64 // arrived and did not run
	Waits   uint64 // sends that had to wait for credit
	Flows   int
	Under   uint64 // messages under way
}

// NewOut makes an empty table. lost is told what did not run; it must not wait.
func NewOut(l *link.Link, lost func(Loss)) *Out {
	return &Out{link: l, lost: lost, byKey: map[outKey]*flow{}, byID: map[uint64]*flow{}}
}

// flow is what this node sends to one target. Messages leave in the order in which
// they were given: who finds others waiting waits behind them. A flow that is not
// used for a while is forgotten (errForgotten); whoever holds it then looks in the
// table again.
type flow struct {
	key outKey
	id  uint64
	box link.Box // of the node

	mu      sync.Mutex
	sender  credit.Sender
	queue   []*waiting    // Invariant: empty unless the sender has no credit for its first
	ended   error         // why nothing more can be sent; nil while it can
	used    time.Time     // when a sweep last found that something had been sent
	sent    credit.Amount // as of the last sweep
	done    credit.Amount // the same
	stalled time.Time     // since when done has not moved while something is under way
}

// waiting is a message that waits for credit.
type waiting struct {
	frame *wire.Frame
	cost  uint64
	by    wait.Waiter[error]
	err   error // why it was refused, once it is out of the queue
}

// endLocked says how the wait ended.
func (w *waiting) endLocked(err error) {
	w.err = err
	w.by.Deliver(err)
}

// Send sends f, which address has completed, as soon as its flow has credit. It
// suspends the task or blocks the goroutine until then, at most until ctx ends. nil
// means that f has left; its loss, if any, is told to lost.
func (o *Out) Send(ctx context.Context, number uint64, node string, f *wire.Frame) error {
	return o.send(ctx, outKey{node, number, f.Path}, f, true)
}

// TrySend is Send that never waits: without credit it is ErrNoCredit.
func (o *Out) TrySend(number uint64, node string, f *wire.Frame) error {
	return o.send(context.Background(), outKey{node, number, f.Path}, f, false)
}

// send finds the flow and sends or waits. The loop is for a flow that a sweep forgets
// between the two steps: the next round finds or makes another one.
func (o *Out) send(ctx context.Context, key outKey, f *wire.Frame, mayWait bool) error {
	for {
		fl, err := o.flowTo(key)
		if err != nil {
			return err
		}
		w, err := fl.trySend(ctx, o, f, mayWait)
		switch {
		case errors.Is(err, errForgotten):
			continue // a sweep has just forgotten it
		case err != nil || w == nil:
			return err
		}
		o.waits.Add(1)
		return fl.wait(ctx, w)
	}
}

// errForgotten: the flow is out of the table, another one takes its place.
var errForgotten = errors.New("the flow is forgotten")

// flowTo finds the flow of a target, or makes it.
func (o *Out) flowTo(key outKey) (*flow, error) {
	o.mu.RLock()
	fl := o.byKey[key]
	o.mu.RUnlock()
	if fl != nil {
		return fl, nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed:
		return nil, fmt.Errorf("%w: the node has been closed", fault.ErrClosed)
	case o.byKey[key] != nil:
		return o.byKey[key], nil
	case len(o.byKey) >= maxOut:
		return nil, fault.New(key.target(), "", fault.ErrNoCredit, fmt.Sprintf("this node sends to %d targets already; those not used for %v are forgotten", maxOut, idleAfter))
	}
	o.next++
	fl = &flow{key: key, id: o.next, box: o.link.Box(key.peer()), sender: credit.NewSender(), used: time.Now()}
	o.byKey[key], o.byID[fl.id] = fl, fl
	return fl, nil
}

func (k outKey) target() string { return k.node + "/" + k.path }

// trySend sends f when there is credit. When there is none and mayWait, it returns
// f's place in the queue.
func (fl *flow) trySend(ctx context.Context, o *Out, f *wire.Frame, mayWait bool) (*waiting, error) {
	cost := credit.Cost(len(f.Payload))
	fl.mu.Lock()
	defer fl.mu.Unlock()
	if fl.ended != nil {
		return nil, fl.ended
	}
	if len(fl.queue) == 0 {
		if sent, err := fl.postLocked(o, f, cost); sent || err != nil {
			return nil, err
		}
	}
	if !mayWait {
		return nil, fl.noCredit("")
	}
	if len(fl.queue) >= maxQueue {
		return nil, fl.noCredit(fmt.Sprintf("; %d are waiting already", maxQueue))
	}
	by, err := wait.New[error](ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", fl.noCredit(""), err)
	}
	w := &waiting{frame: f, cost: cost, by: by}
	fl.queue = append(fl.queue, w)
	return w, nil
}

// noCredit says what is under way, so that the reader of the error sees whether the
// target is stuck or the sender too fast.
func (fl *flow) noCredit(more string) error {
	u := fl.sender.UnderWay()
	return fault.New(fl.key.target(), "", fault.ErrNoCredit, fmt.Sprintf("%d messages of %d bytes are under way and not taken%s", u.Messages, u.Bytes, more))
}

// postLocked posts f if there is credit for it. Why under the lock: stamps must
// leave in their order.
func (fl *flow) postLocked(o *Out, f *wire.Frame, cost uint64) (sent bool, err error) {
	stamp, ok := fl.sender.Take(cost)
	if !ok {
		return false, nil
	}
	f.Flow, f.At = fl.id, wire.Amount(stamp)
	if err := fl.box.Post(f); err != nil {
		fl.sender.Undo()
		return false, fmt.Errorf("%s: %w", fl.key.target(), err)
	}
	return true, nil
}

// wait waits until w was sent. When ctx ends the wait, w is taken out of the queue
// and has not happened; if it is not there any more, it was sent or refused in the same
// moment, and that counts.
func (fl *flow) wait(ctx context.Context, w *waiting) error {
	err, ended := w.by.Wait(ctx)
	if ended == nil {
		return err
	}
	fl.mu.Lock()
	defer fl.mu.Unlock()
	for i, other := range fl.queue {
		if other == w {
			fl.queue = append(fl.queue[:i:i], fl.queue[i+1:]...)
			return fmt.Errorf("%w: %w", fl.noCredit(""), ended)
		}
	}
	return w.err
}

// pumpLocked sends what waits, as far as credit goes.
func (fl *flow) pumpLocked(o *Out) {
	for len(fl.queue) > 0 {
		w := fl.queue[0]
		sent, err := fl.postLocked(o, w.frame, w.cost)
		if !sent && err == nil {
			return
		}
		fl.queue[0] = nil
		fl.queue = fl.queue[1:]
		w.endLocked(err)
	}
	fl.queue = nil
}

// endLocked refuses what waits and what comes.
func (fl *flow) endLocked(why error) {
	fl.ended = why
	for _, w := range fl.queue {
		w.endLocked(why)
	}
	fl.queue = nil
}

// Credited handles a Credit frame: what is done, how large the window is, and what
// was lost or refused. The frame names a flow by its number alone; one that claims
// another node's flow changes nothing.
func (o *Out) Credited(f *wire.Frame) {
	o.mu.RLock()
	fl := o.byID[f.Flow]
	o.mu.RUnlock()
	if fl == nil || fl.key.node != f.From || fl.key.number != f.FromNumber {
		return // of a flow that is forgotten, or of another node's
	}
	fl.mu.Lock()
	news, ok := fl.sender.Apply(credit.Grant{Done: credit.Amount(f.At), Window: credit.Amount(f.Window), Lost: f.Lost, Refused: f.Refused})
	if ok {
		fl.pumpLocked(o)
	}
	fl.mu.Unlock()
	o.tell(fl.key, news.Lost, &o.losses, fault.New(fl.key.target(), "", fault.ErrLost, "it never arrived"))
	o.tell(fl.key, news.Refused, &o.refusals, fault.FromFrame(fl.key.target(), "", f))
}

// tell counts and reports what did not run.
func (o *Out) tell(key outKey, count uint64, counter *atomic.Uint64, why error) {
	if count > 0 {
		counter.Add(count)
		o.lost(Loss{Target: key.target(), Count: count, Reason: why})
	}
}

// NodeDown ends the flows to a node that is gone.
func (o *Out) NodeDown(peer link.Peer, why string) {
	var gone []*flow
	o.mu.Lock()
	for key, fl := range o.byKey {
		if key.peer() == peer {
			gone = append(gone, fl)
			o.forgetLocked(fl)
		}
	}
	o.mu.Unlock()
	for _, fl := range gone {
		err := fault.New(fl.key.target(), "", fault.ErrNodeDown, why)
		fl.mu.Lock()
		under := fl.sender.UnderWay().Messages
		fl.endLocked(err)
		fl.mu.Unlock()
		o.tell(fl.key, under, &o.losses, fault.New(fl.key.target(), "", fault.ErrNodeDown, why+"; they may have run"))
	}
}

func (o *Out) forgetLocked(fl *flow) {
	delete(o.byKey, fl.key)
	delete(o.byID, fl.id)
}

// Disconnected refuses what waits for credit: nothing can be sent. What is under way
// may have arrived and stays under way; Reconnected asks.
func (o *Out) Disconnected() {
	for _, fl := range o.all() {
		fl.mu.Lock()
		fl.endLocked(fault.New(fl.key.target(), "", fault.ErrDisconnected, "nothing was sent"))
		fl.ended = nil // what comes later finds out for itself
		fl.mu.Unlock()
	}
}

// Reconnected asks what became of all that was under way.
func (o *Out) Reconnected() {
	for _, fl := range o.all() {
		fl.mu.Lock()
		o.syncLocked(fl)
		fl.mu.Unlock()
	}
}

// syncLocked says how much was sent, in order behind it, and asks for a Credit.
func (o *Out) syncLocked(fl *flow) {
	if fl.sender.UnderWay().Messages == 0 {
		return
	}
	me := o.link.Self()
	_ = fl.box.Post(&wire.Frame{ // if it is lost, the next sweep sends another one
		Kind: wire.Sync, From: me.Name, FromNumber: me.Number, Path: fl.key.path, Flow: fl.id, At: wire.Amount(fl.sender.Sent()),
	})
}

// Sweep asks about flows that do not move, and forgets those that are not used. The
// mark errForgotten is set under the flow's lock and the table is changed after it: a
// sender that comes between sees the mark and tries again.
func (o *Out) Sweep(now time.Time) {
	for _, fl := range o.all() {
		fl.mu.Lock()
		under := fl.sender.UnderWay().Messages > 0
		if sent := fl.sender.Sent(); sent != fl.sent {
			fl.sent, fl.used = sent, now
		}
		switch done := fl.sender.Done(); {
		case !under && len(fl.queue) == 0 && now.Sub(fl.used) > idleAfter:
			fl.ended = errForgotten
		case !under || done != fl.done:
			fl.done, fl.stalled = done, now
		case now.Sub(fl.stalled) > syncAfter:
			fl.stalled = now
			o.syncLocked(fl)
		}
		forgotten := fl.ended == errForgotten
		fl.mu.Unlock()
		if forgotten {
			o.forget(fl)
		}
	}
}

// forget takes a flow out of the tables and tells the other node, which keeps an
// entry for it.
func (o *Out) forget(fl *flow) {
	o.mu.Lock()
	o.forgetLocked(fl)
	o.mu.Unlock()
	me := o.link.Self()
	o.link.Answer(fl.key.peer(), &wire.Frame{Kind: wire.EndFlow, From: me.Name, FromNumber: me.Number, Flow: fl.id})
}

// The numbers of a flow are those of its credit: nothing is counted for whoever looks. A
// flow that is forgotten takes its numbers with it.
//
// Sent tells of each flow what was sent, in the order of the targets.
func (o *Out) Sent() []inside.Sent {
	var out []inside.Sent
	for _, fl := range o.all() {
		fl.mu.Lock()
		out = append(out, inside.Sent{To: fl.key.target(), Messages: fl.sender.Sent().Messages, UnderWay: int(fl.sender.UnderWay().Messages), Wait: len(fl.queue)})
		fl.mu.Unlock()
	}
	slices.SortFunc(out, func(a, b inside.Sent) int { return strings.Compare(a.To, b.To) })
	return out
}

// Close ends every flow: what waits for credit is refused, and so is every later Send.
// What is under way is not reported any more.
func (o *Out) Close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	for _, fl := range o.all() {
		fl.mu.Lock()
		fl.endLocked(fmt.Errorf("%w: the node has been closed", fault.ErrClosed))
		fl.mu.Unlock()
	}
}

// all copies the table, so that flows are locked one by one and not under its lock.
func (o *Out) all() []*flow {
	o.mu.RLock()
	defer o.mu.RUnlock()
	out := make([]*flow, 0, len(o.byKey))
	for _, fl := range o.byKey {
		out = append(out, fl)
	}
	return out
}

// Counters reads what was counted.
func (o *Out) Counters() OutCounters {
	c := OutCounters{Lost: o.losses.Load(), Refused: o.refusals.Load(), Waits: o.waits.Load()}
	for _, fl := range o.all() {
		fl.mu.Lock()
		c.Under += fl.sender.UnderWay().Messages
		fl.mu.Unlock()
		c.Flows++
	}
	return c
}
