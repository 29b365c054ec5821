package streams

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/link"
	"github.com/loopmesh/loopmesh/internal/wire"
	"github.com/loopmesh/loopmesh/transportactors"
)

// The receiving half. Frames come on the one goroutine of the bulk subscription; it
// never waits, because a slow connection must not hold up the others. So Feed queues
// the bytes at the transport and calls back on its loop when the transport has taken
// them; the window bounds what can be in that queue.
//
// A stream stays in the table after its end, with the reason in over: the frame that
// tells the end may get lost, and each later frame of the writer is answered with it
// again. It leaves the table when the writer has had it (End), or with the writer's node.
//
// Locks: In.mu is for the tables, inStream.mu for one stream; neither is held when a
// frame is sent or a transport is called.

// In are the streams of any node to connections of this one. Any goroutine.
type In struct {
	link  *link.Link
	local func(*wire.Frame) // to the streams of this node

	mu       sync.Mutex
	byKey    map[inKey]*inStream
	byNode   map[string]int          // by name, all lives together
	expected map[string]*expectation // by path
	dirty    []*inStream             // took something that is not told
}

// inKey names a stream: its number is drawn by the writer's node.
type inKey struct {
	from   link.Peer
	stream uint64
}

func keyOf(f *wire.Frame) inKey { return inKey{link.Sender(f), f.Flow} }

// inStream is the receiving half of one stream.
//
// Invariant: told ≤ taken ≤ seen.Bytes, and seen.Bytes − taken is at most Window and
// one frame: what the writer may have under way. All three only grow.
type inStream struct {
	in       *In
	key      inKey
	to       Target
	expected bool   // by this node: its writer needs no right
	stop     func() // ends the wait for the end of the target; set by open

	mu    sync.Mutex
	seen  wire.Amount // what has come
	taken uint64      // bytes that the transport took
	told  uint64      // bytes, in the newest Taken
	asked bool        // the writer wants to hear when query was taken
	query uint64      // bytes
	over  error       // why nothing more is taken
	dirty bool        // in In.dirty
}

// NewIn makes an empty table.
func NewIn(l *link.Link) *In {
	return &In{link: l, byKey: map[inKey]*inStream{}, byNode: map[string]int{}, expected: map[string]*expectation{}}
}

// Handle takes a frame of a stream. Receiving goroutine: it does not wait.
func (i *In) Handle(f *wire.Frame) {
	if f.Op == wire.Open {
		answer := &wire.Frame{Kind: wire.Result, ID: f.ID, Codec: wire.Raw, Payload: binary.AppendUvarint(nil, i.link.Self().Number)}
		if err := i.open(f); err != nil {
			answer = fault.Frame(f.ID, err)
		}
		i.link.Answer(link.Sender(f), answer)
		return
	}
	i.mu.Lock()
	st := i.byKey[keyOf(f)]
	i.mu.Unlock()
	switch {
	case st == nil && f.Op == wire.End:
	case st == nil:
		i.Deny(f, fault.Codef(wire.UnknownTarget, "%w: the stream is over", fault.ErrUnknownTransport))
	case f.Op == wire.End && f.At.Messages == endsAnyway:
		i.forget(st)
		st.failExpected(fault.Codef(wire.Lost, "%w: its writer could not go on", fault.ErrLost))
	case f.Op == wire.Abort: // overtakes what was written
		_ = st.to.Abort() // a transport that has ended has told so
	default:
		st.arrived(f)
	}
}

// Deny ends a stream of another node for good.
func (i *In) Deny(f *wire.Frame, why error) {
	if f.Op == wire.Open {
		i.link.Answer(link.Sender(f), fault.Frame(f.ID, why))
		return
	}
	i.tell(keyOf(f), 0, why)
}

// open begins a stream, or says in an error with a code why not. The entry in the
// table comes before OnEnd, which may call back at once; a stream that is known
// already (its opening was sent twice) is answered as if it were new.
func (i *In) open(f *wire.Frame) error {
	me := i.link.Self()
	if f.Incarnation != 0 && f.Incarnation != me.Number {
		return fault.Codef(wire.DeadIncarnation, "%w: the address means incarnation %d, the node lives as %d", fault.ErrDeadIncarnation, f.Incarnation, me.Number)
	}
	if i.known(f) {
		return nil
	}
	to, expected, err := i.target(f)
	if err != nil {
		return err
	}
	st := &inStream{in: i, key: keyOf(f), to: to, expected: expected}
	if known, err := i.insert(st); known || err != nil {
		return err
	}
	stop, err := to.OnEnd(st.transportEnded)
	if err != nil {
		i.forget(st)
		return fault.Codef(wire.Closed, "%w: %w", fault.ErrClosed, err)
	}
	st.mu.Lock()
	st.stop = stop
	st.mu.Unlock()
	return nil
}

// insert is known for a stream that is there already: its opening was sent again.
func (i *In) insert(st *inStream) (known bool, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	have := i.byNode[st.key.from.Name]
	switch {
	case i.byKey[st.key] != nil:
		return true, nil
	case len(i.byKey) >= maxIn || have >= maxIn/4:
		return false, fault.Codef(wire.Busy, "%w: node %s writes to %d connections here already, %d are written to in all", fault.ErrBusy, st.key.from.Name, have, len(i.byKey))
	}
	i.byKey[st.key] = st
	i.byNode[st.key.from.Name]++
	return false, nil
}

// forget lets go of a stream: it takes it out of the table and stops listening for
// the end of the transport, which goes on. Calling it again does nothing.
func (i *In) forget(st *inStream) {
	i.mu.Lock()
	if i.byKey[st.key] == st {
		delete(i.byKey, st.key)
		if i.byNode[st.key.from.Name]--; i.byNode[st.key.from.Name] == 0 {
			delete(i.byNode, st.key.from.Name)
		}
	}
	i.mu.Unlock()
	st.mu.Lock()
	stop := st.stop
	st.stop = nil
	st.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// arrived takes the next frame in order. Receiving goroutine. Of three stamps, one that
// is behind is a repetition, which comes when a connection is replaced (engine.Link);
// one that is ahead says that something is missing; and one that fits, but brings more
// than the window, is of a writer that does not count: it must not fill the memory here.
func (st *inStream) arrived(f *wire.Frame) {
	size := uint64(len(f.Payload))
	st.mu.Lock()
	switch {
	case st.over != nil, f.At.Messages < st.seen.Messages:
		over := st.over
		st.mu.Unlock()
		if over != nil {
			st.in.tell(st.key, 0, over)
		}
		return
	case f.At != st.seen:
		missing := f.At.Messages - st.seen.Messages
		st.mu.Unlock()
		st.fail(fault.Codef(wire.Lost, "%w: %d frames of the stream are missing, so the connection was aborted", fault.ErrLost, missing))
		return
	case size > 0 && st.seen.Bytes-st.taken+size > Window+piece:
		st.mu.Unlock()
		st.fail(fault.Codef(wire.NoCredit, "%w: more came than the window of the stream allows", fault.ErrNoCredit))
		return
	}
	st.seen.Messages++
	st.seen.Bytes += size
	st.mu.Unlock()
	if err := st.do(f.Op, f.Payload); err != nil && !errors.Is(err, transportactors.ErrClosed) {
		st.end(err)
	}
}

// do gives an order to the transport. The error of a transport that has ended is
// dropped by the caller, because transportEnded tells the better reason.
func (st *inStream) do(op wire.Op, data []byte) error {
	switch op {
	case wire.Write:
		size := uint64(len(data))
		return st.to.Feed(data, func(err error) { st.took(size, err) })
	case wire.EOF:
		return st.to.WriteEOF(st.end)
	case wire.Close:
		return st.to.Close()
	case wire.Pause:
		return st.to.PauseReading()
	case wire.Resume:
		return st.to.ResumeReading()
	case wire.Query:
		st.mu.Lock()
		st.asked, st.query = true, st.seen.Bytes
		st.tellUnlock()
	case wire.End:
		st.in.forget(st)
	default:
		return fault.Codef(wire.Refused, "%w: operation %d", fault.ErrRefused, op)
	}
	return nil
}

// took notes what the transport said to bytes. Loop goroutine.
func (st *inStream) took(size uint64, err error) {
	switch {
	case errors.Is(err, transportactors.ErrClosed): // transportEnded has the reason
	case err != nil:
		st.end(err)
	default:
		st.mu.Lock()
		st.taken += size
		st.tellUnlock()
	}
}

// tellUnlock tells the writer what was taken, when it is much or was asked for; else
// the next sweep does. Why not each time: a Taken costs as much as the frame it is
// about. It gives st.mu back before it sends, because to a stream of this very node it
// is a plain call, which ends here again when the stream is over.
func (st *inStream) tellUnlock() {
	answers := st.asked && st.taken >= st.query
	due := st.over == nil && (answers || st.taken-st.told >= tellEach)
	if due {
		st.told = st.taken
	}
	if answers {
		st.asked = false
	}
	later := !due && st.over == nil && !st.dirty && st.taken > st.told
	st.dirty = st.dirty || later
	taken := st.taken
	st.mu.Unlock()
	switch {
	case due:
		st.in.tell(st.key, taken, nil)
	case later:
		st.in.mu.Lock()
		st.in.dirty = append(st.in.dirty, st)
		st.in.mu.Unlock()
	}
}

// Sweep tells what was not told at once: little was taken, and nobody asked. It runs
// with the node's ticks, so a writer hears of its last bytes within a moment, without
// a frame for each write.
func (i *In) Sweep() {
	i.mu.Lock()
	dirty := i.dirty
	i.dirty = nil
	i.mu.Unlock()
	for _, st := range dirty {
		st.mu.Lock()
		st.dirty = false
		due := st.over == nil && st.taken > st.told
		st.told = st.taken
		taken := st.taken
		st.mu.Unlock()
		if due {
			i.tell(st.key, taken, nil)
		}
	}
}

// transportEnded is told by the transport, on its loop. A stream that was told no
// reason gets "closed": the writer needs one to know that it was no loss.
func (st *inStream) transportEnded(reason error) {
	if reason == nil {
		reason = fault.Codef(wire.Closed, "%w: the connection ended in good order: its peer or the program there closed it", fault.ErrClosed)
	}
	st.end(reason)
}

// end tells the writer that no more is taken, and why. The first reason counts. The
// stream stays in the table until its writer or its node ends it, so that the reason
// can be told again when it was lost.
func (st *inStream) end(why error) {
	st.mu.Lock()
	first := st.over == nil
	if first {
		st.over = why
	}
	taken := st.taken
	st.mu.Unlock()
	if first {
		st.in.tell(st.key, taken, why)
	}
}

// fail is end that ends the connection, too. Bytes are missing, or came without
// permission: what the peer has received so far is a prefix, and anything more would
// be wrong.
func (st *inStream) fail(why error) {
	st.end(why)
	_ = st.to.Fail(fmt.Errorf("the stream of node %s: %w", st.key.from.Name, why)) // one that has ended needs none
}

// tell sends a Taken.
func (i *In) tell(key inKey, taken uint64, why error) {
	me := i.link.Self()
	f := &wire.Frame{Kind: wire.Taken}
	if why != nil {
		fault.Describe(f, why)
	}
	f.From, f.FromNumber, f.Flow, f.At = me.Name, me.Number, key.stream, wire.Amount{Bytes: taken}
	if key.from == (link.Peer{Name: me.Name, Number: me.Number}) {
		i.local(f)
		return
	}
	i.link.Answer(key.from, f)
}

// NodeDown forgets the streams of a node that is gone. What has come is still written,
// and the connections are their owners'. What was expected of that node ends.
func (i *In) NodeDown(peer link.Peer) {
	i.drop(func(k inKey) bool { return k.from == peer }, fault.New(peer.Name, "", fault.ErrNodeDown, "its streams ended with it"))
}

// Close forgets all streams: the node ends.
func (i *In) Close() {
	i.drop(func(inKey) bool { return true }, fmt.Errorf("%w: this node has been closed", fault.ErrClosed))
}

// drop forgets the streams that match, and fails what was expected with why. They are
// collected first, since forget takes the lock.
func (i *In) drop(match func(inKey) bool, why error) {
	var gone []*inStream
	i.mu.Lock()
	for key, st := range i.byKey {
		if match(key) {
			gone = append(gone, st)
		}
	}
	i.mu.Unlock()
	for _, st := range gone {
		i.forget(st)
		st.failExpected(why)
	}
}

// failExpected tells a target that was expected, and has not ended, that the rest will not
// come. A connection is its owner's, and goes on.
func (st *inStream) failExpected(why error) {
	st.mu.Lock()
	over := st.over != nil
	st.mu.Unlock()
	if st.expected && !over {
		_ = st.to.Fail(why) // one whose loop is closed needs none
	}
}

// Count is how many streams there are.
func (i *In) Count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.byKey)
}

// Order carries out a TransportOp, which earlier builds send for a single write or
// close. It is answered like a call and has no window.
func (i *In) Order(f *wire.Frame) {
	answer := &wire.Frame{Kind: wire.Result, ID: f.ID, Codec: wire.Raw}
	if err := i.order(f); err != nil {
		answer = fault.Frame(f.ID, err)
	}
	i.link.Answer(link.Sender(f), answer)
}

func (i *In) order(f *wire.Frame) error {
	me := i.link.Self()
	ref, ok := transportactors.Lookup(actors.Address{Path: f.Path})
	switch {
	case f.Incarnation != 0 && f.Incarnation != me.Number:
		return fault.Codef(wire.DeadIncarnation, "%w: the node lives as %d", fault.ErrDeadIncarnation, me.Number)
	case !ok:
		return fault.Codef(wire.UnknownTarget, "%w: node %s has no connection %q", fault.ErrUnknownTransport, me.Name, f.Path)
	case f.Op == wire.Write:
		return ref.Write(f.Payload)
	case f.Op == wire.Close:
		return ref.Close()
	}
	return ref.Abort()
}
