// Package link carries frames between this node and the others over a connection
// to NATS. It knows subjects, the outbox of each peer and the order of what is
// sent. What a frame means, the parts of the node know that use this package.
package link

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nats.go"

	"github.com/loopmesh/loopmesh/cluster/internal/engine"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/ratelog"
	"github.com/loopmesh/loopmesh/cluster/internal/subject"
	"github.com/loopmesh/loopmesh/cluster/keys"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// Self is who this node is in every frame it sends.
type Self struct {
	Cluster string
	Name    string
	Number  uint64 // incarnation
}

// Peer is one incarnation of another node: what frames are sent to. Comparable.
type Peer struct {
	Name   string
	Number uint64 // incarnation
}

// Peer is this node as others see it.
func (s Self) Peer() Peer { return Peer{s.Name, s.Number} }

// Compare orders peers.
func (p Peer) Compare(o Peer) int {
	return cmp.Or(strings.Compare(p.Name, o.Name), cmp.Compare(p.Number, o.Number))
}

// String is name@incarnation.
func (p Peer) String() string { return p.Name + "@" + strconv.FormatUint(p.Number, 10) }

// ParsePeer reads what String writes.
func ParsePeer(text string) (p Peer, ok bool) {
	name, number, _ := strings.Cut(text, "@")
	n, err := strconv.ParseUint(number, 10, 64)
	return Peer{name, n}, err == nil
}

// Sender is the peer that a frame names as its sender.
func Sender(f *wire.Frame) Peer { return Peer{f.From, f.FromNumber} }

// Handlers take what arrives. They run on the receiving goroutine, in the order
// of arrival, and never wait. A frame is reused for the next one: a handler that
// keeps something of it copies it. Payload belongs to this message alone.
type Handlers struct {
	Frame       func(f *wire.Frame, in Arrival) // on this node's own subject
	End         func()                          // of a message with one or more of these frames
	Broadcast   func(f *wire.Frame, in Arrival) // on the subject of all members
	Unreachable func(token string)              // NATS found nobody for what was sent with this token
}

// Arrival says how a frame came.
type Arrival struct {
	Subject string
	Reply   string      // where its sender expects an answer; "" when it expects none
	Sender  string      // node that sent it, by the subject
	Rights  keys.Grants // of the sender on this node
}

// Link sends and receives the frames of this node. Any goroutine.
type Link struct {
	self     Self
	subjects *subject.Space // set by Open
	log      hclog.Logger
	handlers Handlers
	conn     *engine.Link             // set by Open, before anything is sent
	bulk     *engine.Link             // set by Open
	rights   func(string) keys.Grants // set by Open
	maxFrame int
	outboxes outboxTable
	ids      ids

	closing atomic.Bool // Shut has begun: nothing more is posted
	offline atomic.Bool // between the loss of the connection and the next one

	stats counters
	quiet struct{ malformed, answers ratelog.Line }
}

type counters struct {
	framesIn, framesOut, batches, sendErrors, malformed atomic.Uint64
}

// Counters are what a Link has counted since its start.
type Counters struct {
	FramesIn, FramesOut, Batches, SendErrors, Malformed, Dropped uint64
}

// New makes a Link that is not connected. log gets what cannot be returned.
func New(self Self, log hclog.Logger, first uint64, h Handlers) *Link {
	l := &Link{self: self, log: log, handlers: h}
	l.ids.next = first
	l.outboxes.init()
	return l
}

// Open gives the Link its connection. Frames longer than what the server takes are
// refused.
func (l *Link) Open(e *engine.Engine) {
	l.subjects, l.conn, l.bulk, l.rights = e.Subjects, e.Control(), e.Bulk(), e.Rights
	l.maxFrame = int(l.conn.MaxPayload())
}

// Self is who this node is.
func (l *Link) Self() Self { return l.self }

// NextID draws an id that nothing else of this node has.
func (l *Link) NextID() uint64 { return l.ids.draw() }

// LastID is the newest id that was drawn.
func (l *Link) LastID() uint64 { return l.ids.last() }

// ids are the numbers of requests and watches of this node.
type ids struct {
	mu   sync.Mutex
	next uint64
}

func (i *ids) draw() uint64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.next++
	return i.next
}

func (i *ids) last() uint64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.next
}

// SetOffline notes that the connection is lost, or back.
func (l *Link) SetOffline(v bool) { l.offline.Store(v) }

// Offline reports whether the connection is lost.
func (l *Link) Offline() bool { return l.offline.Load() }

// Usable reports whether the connection works as far as is known: only then is the
// silence of others evidence.
func (l *Link) Usable() bool { return !l.offline.Load() && l.conn.Connected() }

// Shut refuses every later Post, and sends what was posted before.
func (l *Link) Shut() {
	l.closing.Store(true)
	l.outboxes.flush(l)
}

// Closing reports whether Shut was called.
func (l *Link) Closing() bool { return l.closing.Load() }

// Send publishes f to a node, behind what was posted to it before. It does not
// wait. Errors: ErrTooLarge, ErrDisconnected, ErrClosed.
func (l *Link) Send(to Peer, f *wire.Frame) error {
	return l.publish(l.of(to), "", f)
}

// SendFor is Send with a notice of failure: when nobody listens as that incarnation of
// the node, NATS answers "no responders", and Handlers.Unreachable gets the token.
func (l *Link) SendFor(to Peer, token string, f *wire.Frame) error {
	return l.publish(l.of(to), l.subjects.Reply+token, f)
}

// SendToName is SendFor to whoever holds a name, whatever its incarnation.
func (l *Link) SendToName(name, token string, f *wire.Frame) error {
	return l.publish(l.subjects.Name(name), l.subjects.Reply+token, f)
}

// Answer is Send that logs a failure instead of returning it: its caller could do
// nothing about it.
func (l *Link) Answer(to Peer, f *wire.Frame) { l.answerTo(l.of(to), f) }

// answerTo sends an answer. A Result that does not fit into a message of the NATS
// server becomes an Error that does: who asked must not wait for its deadline.
func (l *Link) answerTo(subject string, f *wire.Frame) {
	err := l.publish(subject, "", f)
	if f.Kind == wire.Result && errors.Is(err, fault.ErrTooLarge) {
		err = l.publish(subject, "", fault.Frame(f.ID, err))
	}
	if err != nil && !l.closing.Load() {
		if ok, more := l.quiet.answers.Allow(); ok {
			l.log.Warn("an answer could not be sent", "kind", f.Kind, "error", err, "kept_back", more)
		}
	}
}

// Broadcast sends f to all members, in this node's name.
func (l *Link) Broadcast(f *wire.Frame) {
	f.From, f.FromNumber = l.self.Name, l.self.Number
	l.answerTo(l.subjects.Alive, f)
}

// frames are buffers for encoding; nats.go copies what it publishes.
var frames = sync.Pool{New: func() any { b := make([]byte, 0, 4096); return &b }}

func (l *Link) publish(subject, reply string, f *wire.Frame) error {
	l.outboxes.flushFor(l, subject)
	buf := frames.Get().(*[]byte)
	defer frames.Put(buf)
	*buf = f.Append((*buf)[:0])
	if len(*buf) > l.maxFrame {
		return tooLong(len(*buf), l.maxFrame)
	}
	err := l.conn.Publish(subject, reply, *buf)
	if err != nil {
		l.stats.sendErrors.Add(1)
		return sendError(err)
	}
	l.stats.framesOut.Add(1)
	return nil
}

func tooLong(have, most int) error {
	return fault.Codef(wire.TooLarge, "%w: frame of %d bytes, the NATS server takes %d", fault.ErrTooLarge, have, most)
}

func sendError(err error) error {
	switch {
	case errors.Is(err, engine.ErrClosed):
		return fmt.Errorf("%w: the node has been closed", fault.ErrClosed)
	case errors.Is(err, nats.ErrMaxPayload):
		return fault.Codef(wire.TooLarge, "%w: %w", fault.ErrTooLarge, err)
	case errors.Is(err, fault.ErrDisconnected):
		return fmt.Errorf("%w: nothing was sent; try again when it is back", fault.ErrDisconnected)
	}
	return fmt.Errorf("publishing: %w", err)
}

// Counters reads what was counted.
func (l *Link) Counters() Counters {
	c := &l.stats
	out := Counters{
		FramesIn: c.framesIn.Load(), FramesOut: c.framesOut.Load(), Batches: c.batches.Load(),
		SendErrors: c.sendErrors.Load(), Malformed: c.malformed.Load(),
	}
	out.Dropped = l.conn.Dropped() + l.bulk.Dropped()
	return out
}

// of is where frames for a life of a node go.
func (l *Link) of(to Peer) string { return l.subjects.To(to.Name, to.Number) }
