package streams

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/link"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// The sending half: the table of streams, the goroutine that sends, and what ends
// streams from outside (another node, this node, the server).
//
// Run takes turns: each stream that has something to send is in ready once, gives one
// frame, and queues up again behind the others. A stream is queued by whoever gives
// it something (queueLocked), and wake has room for one signal, which is enough,
// since Run empties the whole list for each.
//
// Locks: Out.mu for the table, readyMu for the list of Run, Stream.mu for one stream.
// Stream.mu may be held when readyMu is taken, not the other way round; a frame is
// published without any of them.

// Out are the streams of this node to connections anywhere, its own included. Any
// goroutine.
type Out struct {
	link   *link.Link
	ask    Ask
	in     *In // of this node: the way to its own connections
	piece  int // bytes in one frame, see Fit
	memory memory

	mu     sync.Mutex
	byID   map[uint64]*Stream
	next   uint64
	closed bool

	readyMu sync.Mutex
	ready   []*Stream
	wake    chan struct{}
}

// Ask puts a question to another node and gives the payload of its answer, as a call does.
type Ask func(ctx context.Context, to actors.Address, f *wire.Frame) (payload []byte, err error)

// NewOut makes an empty table.
func NewOut(l *link.Link, ask Ask, in *In) *Out {
	o := &Out{link: l, ask: ask, in: in, piece: piece, byID: map[uint64]*Stream{}, wake: make(chan struct{}, 1)}
	in.local = o.Taken
	return o
}

// Open begins a stream to the connection at addr. It waits for the answer of its
// node, in a task or a goroutine, as a call does and with its errors;
// ErrUnknownTransport: there is no such connection.
//
// The stream is in the table before the question leaves, because the node may go
// while it waits: NodeDown notes that life in gone, and Open looks at it when the
// answer has said which life it was.
func (o *Out) Open(ctx context.Context, addr actors.Address) (*Stream, error) {
	me := o.link.Self()
	s := &Stream{out: o, addr: addr, done: make(chan struct{})}
	if s.addr.Node == "" {
		s.addr.Node = me.Name
	}
	if err := o.add(s); err != nil {
		return nil, err
	}
	f := &wire.Frame{Kind: wire.Stream, Op: wire.Open, Flow: s.id}
	number := me.Number
	var err error
	if s.addr.Node == me.Name {
		f.From, f.FromNumber, f.Incarnation, f.Path = me.Name, me.Number, addr.Incarnation, addr.Path
		err = o.in.open(f)
	} else {
		var answer []byte
		if answer, err = o.ask(ctx, s.addr, f); err == nil {
			number, err = lifeOf(answer)
		}
	}
	if err != nil {
		o.remove(s)
		return nil, err
	}
	o.mu.Lock()
	s.peer = link.Peer{Name: s.addr.Node, Number: number}
	gone := o.closed || s.gone == s.peer
	o.mu.Unlock()
	if gone {
		o.remove(s)
		return nil, fault.New(s.target(), "", fault.ErrNodeDown, "it went while the stream was opened")
	}
	return s, nil
}

// peerOf is the life of the node that has the connection; zero while the stream is
// being opened.
func (o *Out) peerOf(s *Stream) link.Peer {
	o.mu.Lock()
	defer o.mu.Unlock()
	return s.peer
}

// Fit lets frames fit into the messages of the server, before the first stream.
func (o *Out) Fit() { o.piece = min(piece, max(o.link.MaxFrame()-wire.Overhead, 1)) }

// lifeOf reads from the answer to Open which life of the node has the connection.
func lifeOf(payload []byte) (uint64, error) {
	number, n := binary.Uvarint(payload)
	if n <= 0 {
		return 0, fault.Codef(wire.BadPayload, "%w: the answer to the opening of a stream", fault.ErrBadPayload)
	}
	return number, nil
}

func (o *Out) add(s *Stream) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return fmt.Errorf("%w: the node has been closed", fault.ErrClosed)
	}
	o.next++
	s.id = o.next
	o.byID[s.id] = s
	return nil
}

func (o *Out) remove(s *Stream) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.byID, s.id)
}

// queueLocked lets the sending goroutine look at s.
func (s *Stream) queueLocked() {
	if s.queued {
		return
	}
	s.queued = true
	o := s.out
	o.readyMu.Lock()
	o.ready = append(o.ready, s)
	o.readyMu.Unlock()
	o.kick()
}

// kick wakes Run, once for any number of calls.
func (o *Out) kick() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// Run sends what was accepted until stop is closed: one frame of each stream in turn.
// It is the body of a goroutine. Why one goroutine: a publish waits while the server
// does not read, which a loop must not.
func (o *Out) Run(stop <-chan struct{}) {
	var mine []*Stream
	for {
		o.readyMu.Lock()
		mine, o.ready = o.ready, mine[:0]
		o.readyMu.Unlock()
		for i, s := range mine {
			o.sendOne(s)
			mine[i] = nil
		}
		if len(mine) > 0 {
			select {
			case <-stop:
				return
			default:
				continue
			}
		}
		select {
		case <-stop:
			return
		case <-o.wake:
		}
	}
}

// sendOne sends the next frame of s, and queues s again when there are more. A frame
// that could not leave, because there is no connection, goes back to its place; its
// stream is looked at again by Reconnected, and by the next write.
func (o *Out) sendOne(s *Stream) {
	s.mu.Lock()
	s.queued = false
	if len(s.items) == 0 || s.ended != nil {
		s.mu.Unlock()
		return
	}
	one := s.items[0]
	s.items[0] = item{}
	s.items = s.items[1:]
	me, at := o.link.Self(), s.sent
	// Counted before it leaves: the answer may come before the publish returns.
	s.sent.Messages++
	s.sent.Bytes += uint64(len(one.data()))
	s.mu.Unlock()
	f := wire.Frame{
		Kind: wire.Stream, Op: one.op, From: me.Name, FromNumber: me.Number, Incarnation: s.peer.Number,
		Flow: s.id, At: at,
	}
	var err error
	if s.peer == (link.Peer{Name: me.Name, Number: me.Number}) {
		f.Payload = one.data() // which the connection keeps
		o.in.Handle(&f)
	} else if err = o.link.PublishBulk(s.peer, &f, one.buf); err == nil {
		o.memory.put(one.buf)
	}
	switch {
	case errors.Is(err, fault.ErrDisconnected):
		s.mu.Lock() // Reconnected goes on with it
		if s.ended == nil && !s.aborted {
			s.items = append([]item{one}, s.items...)
			s.sent = at
		}
		s.mu.Unlock()
		return
	case err != nil:
		o.over(s, fmt.Errorf("%s: %w", s.target(), err))
	case one.op == wire.End:
		o.remove(s) // the End itself, behind what was written, lets the other half forget it
		s.end(fmt.Errorf("%s: detached: %w", s.target(), fault.ErrClosed))
	}
	s.mu.Lock()
	if len(s.items) > 0 {
		s.queueLocked()
	}
	s.mu.Unlock()
}

// abort tells the connection's node at once.
func (o *Out) abort(s *Stream) {
	me := o.link.Self()
	f := &wire.Frame{Kind: wire.Stream, Op: wire.Abort, From: me.Name, FromNumber: me.Number, Incarnation: s.peer.Number, Flow: s.id}
	if s.peer.Name == me.Name {
		o.in.Handle(f)
		return
	}
	o.link.Answer(s.peer, f) // what is lost by a disconnect is said again behind it
}

// Taken handles a Taken frame of the connection's node: how much was taken and, with a
// code, that nothing more will be. Receiving goroutine. A frame of another node than the
// stream's is dropped: it could end somebody else's stream.
func (o *Out) Taken(f *wire.Frame) {
	o.mu.Lock()
	s := o.byID[f.Flow]
	fits := s != nil && (s.peer == link.Peer{} || s.peer == link.Sender(f))
	o.mu.Unlock()
	switch {
	case !fits: // of a stream that is over, or to another node
	case f.Code == 0:
		s.took(f.At)
	default:
		s.took(f.At)
		o.over(s, fault.FromFrame(s.target(), "", f))
	}
}

// over ends a stream and lets the other half forget it. The End does not wait behind
// what was written, which nobody wants any more.
func (o *Out) over(s *Stream, why error) {
	o.remove(s)
	if !s.end(why) {
		return
	}
	me, peer := o.link.Self(), o.peerOf(s)
	f := &wire.Frame{Kind: wire.Stream, Op: wire.End, From: me.Name, FromNumber: me.Number, Incarnation: peer.Number, Flow: s.id, At: wire.Amount{Messages: endsAnyway}}
	switch {
	case peer == link.Peer{}: // being opened
	case peer.Name == me.Name:
		o.in.Handle(f)
	case o.link.Usable():
		o.link.Answer(peer, f)
	}
}

// endsAnyway is the stamp of an End that does not wait for what was sent before: the
// stream is over.
const endsAnyway = 1<<64 - 1

// NodeDown ends the streams to a node that is gone.
func (o *Out) NodeDown(peer link.Peer, why string) {
	for _, s := range o.where(func(s *Stream) bool {
		if (s.peer == link.Peer{}) && s.addr.Node == peer.Name {
			s.gone = peer
		}
		return s.peer == peer
	}) {
		o.remove(s)
		s.end(fault.New(s.target(), "", fault.ErrNodeDown, why))
	}
}

// Reconnected sends what could not be sent, and asks what was taken: the answer to a
// Query says whether anything was lost on the old connection, and then the stream is
// over. An Abort that may have been lost is said again.
func (o *Out) Reconnected() {
	for _, s := range o.where(func(s *Stream) bool { return s.peer != link.Peer{} }) {
		s.mu.Lock()
		s.items = append(s.items, item{wire.Query, nil})
		s.queueLocked()
		aborted := s.aborted
		s.mu.Unlock()
		if aborted {
			o.abort(s)
		}
	}
}

// Sweep asks for each stream of which nothing has moved since the last time, though
// something is under way: the other node may have lost its connection, and with it the
// frames or the Taken that would move it, while ours held. The answer is what
// Reconnected waits for.
func (o *Out) Sweep() {
	for _, s := range o.where(func(s *Stream) bool { return s.peer != link.Peer{} }) {
		s.mu.Lock()
		still := s.accepted == s.swept.accepted && s.taken == s.swept.taken
		s.swept.accepted, s.swept.taken = s.accepted, s.taken
		if still && s.ended == nil && (s.accepted != s.taken || s.closing != nil) {
			if len(s.items) == 0 {
				s.items = append(s.items, item{wire.Query, nil})
			}
			s.queueLocked()
		}
		s.mu.Unlock()
	}
}

// Denied ends the streams to a node to which the NATS server lets this node send
// nothing.
func (o *Out) Denied(node string) {
	for _, s := range o.where(func(s *Stream) bool { return s.peer.Name == node }) {
		o.remove(s)
		s.end(fault.New(s.target(), "", fault.ErrRefused, "the NATS server does not let this node send to that one; check its keys"))
	}
}

// Close ends every stream.
func (o *Out) Close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	for _, s := range o.where(func(*Stream) bool { return true }) {
		o.remove(s)
		s.end(fmt.Errorf("%s: %w: this node has been closed", s.target(), fault.ErrClosed))
	}
}

// where collects streams first, since what ends them takes their locks.
func (o *Out) where(match func(*Stream) bool) (out []*Stream) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.byID {
		if match(s) {
			out = append(out, s)
		}
	}
	return out
}
