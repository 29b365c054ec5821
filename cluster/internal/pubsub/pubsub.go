// Package pubsub is what a node publishes to topics and hears of them: one frame for each
// node that subscribes, however many there subscribe, at most once.
//
// A topic is a NATS subject. The first subscription of a node to a topic subscribes to it,
// the last one that ends gives it up; a goroutine that lives while there is such work does
// that, because NATS may have to be waited for while keys are replaced. What is published
// carries the number of its message in a series: a random number that a node draws once,
// and for each topic a count. So a node that hears a topic sees what did not arrive, as
// soon as something arrives again, and knows what arrives twice.
package pubsub

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/link"
	"github.com/loopmesh/loopmesh/cluster/internal/notify"
	"github.com/loopmesh/loopmesh/cluster/internal/wait"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// Message is what arrived. Its payload is its own memory.
type Message struct {
	From    link.Peer
	Codec   wire.Codec
	Payload []byte
	Missed  uint64 // messages of that node to the topic that never arrived, right before this one
}

// Limits of what others and the program can make a node remember.
const (
	maxTopic   = 128     // bytes of a name
	maxCounted = 1 << 16 // topics that this node counts what it publishes to; then a new series begins
	maxPeers   = 4096    // lives of nodes that one topic was heard of
)

// Bus is the topics of a node. Any goroutine.
type Bus struct {
	link       *link.Link
	maxPayload int
	allowed    func(*wire.Frame, link.Arrival) bool
	series     func() uint64 // draws one
	tasks      *notify.Queue

	mu     sync.Mutex
	heard  map[string]*heard
	said   map[string]*said
	number uint64 // the series in use
	closed bool

	out, in, missed atomic.Uint64
}

// Counters are what a Bus has counted.
type Counters struct {
	Out    uint64 // messages published
	In     uint64 // messages of other nodes that arrived for a subscription
	Missed uint64 // messages of other nodes that never arrived
}

// New makes a Bus without topics. allowed says whether a frame may be delivered; series
// draws numbers that are not zero; tasks runs what may wait.
func New(l *link.Link, maxPayload int, series func() uint64, tasks *notify.Queue, allowed func(*wire.Frame, link.Arrival) bool) *Bus {
	return &Bus{link: l, maxPayload: maxPayload, allowed: allowed, series: series, tasks: tasks, heard: map[string]*heard{}, said: map[string]*said{}, number: series()}
}

// Counters reads what was counted.
func (b *Bus) Counters() Counters {
	return Counters{Out: b.out.Load(), In: b.in.Load(), Missed: b.missed.Load()}
}

// CheckTopic refuses a name that no topic can have.
func CheckTopic(name string) error {
	if name == "" || len(name) > maxTopic {
		return fault.Config("topic %q: a name has 1 to %d bytes", name, maxTopic)
	}
	return nil
}

// said is what this node published to a topic. Its lock is held while a message is handed
// to NATS: messages leave in the order of their numbers.
type said struct {
	mu     sync.Mutex
	series uint64
	count  uint64
}

// Publish sends a message to every other node that subscribes to the topic. It does not
// wait and keeps no payload. Errors: ErrConfig, ErrRefused, ErrTooLarge, ErrDisconnected,
// ErrClosed.
func (b *Bus) Publish(topic string, codec wire.Codec, payload []byte) error {
	switch {
	case len(payload) > b.maxPayload:
		return fault.Codef(wire.TooLarge, "%w: %d bytes for topic %s, the limit is %d (Config.MaxPayload)", fault.ErrTooLarge, len(payload), topic, b.maxPayload)
	case !Internal(topic) && !b.link.MayPublish(topic):
		return fault.Codef(wire.Refused, "%w: this node has no right publish:%s", fault.ErrRefused, topic)
	case b.link.Offline():
		return fmt.Errorf("%w: nothing was published", fault.ErrDisconnected)
	}
	s := b.of(topic)
	s.mu.Lock()
	defer s.mu.Unlock()
	f := wire.Frame{Kind: wire.Publish, Function: topic, Codec: codec, Payload: payload, Flow: s.series, At: wire.Amount{Messages: s.count + 1}}
	if err := b.link.PublishTopic(&f); err != nil {
		return err
	}
	s.count++
	b.out.Add(1)
	return nil
}

// Internal reports whether a topic belongs to the nodes themselves: it takes no right.
func Internal(topic string) bool { return topic != "" && topic[0] == '$' }

// of is the count of a topic. A new series tells those who hear that counts begin anew.
func (b *Bus) of(topic string) *said {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.said[topic]
	if s == nil {
		if len(b.said) >= maxCounted {
			clear(b.said)
			b.number = b.series()
		}
		s = &said{series: b.number}
		b.said[topic] = s
	}
	return s
}

// heard is a topic that somebody here subscribes to.
type heard struct {
	bus   *Bus
	topic string

	// Guarded by Bus.mu.
	subs       []*Subscription
	subscribed bool          // at NATS
	settled    chan struct{} // closed when NATS was told of the subscription
	err        error         // why it could not be told

	mu    sync.Mutex // keeps messages in order
	peers map[link.Peer]position
}

// position is what was heard last of a node.
type position struct{ series, count uint64 }

// Subscription is one that Subscribe made.
type Subscription struct {
	of     *heard
	handle func(Message)
}

// Subscribe calls handle for each message of other nodes to the topic, in the order of
// each publisher, on a goroutine that handles all messages of the topic: handle never
// waits. It does not wait itself: see Ready. Errors: ErrConfig, ErrClosed.
func (b *Bus) Subscribe(topic string, handle func(Message)) (*Subscription, error) {
	if err := CheckTopic(topic); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, fmt.Errorf("%w: it subscribes to no more topics", fault.ErrClosed)
	}
	h := b.heard[topic]
	if h == nil {
		h = &heard{bus: b, topic: topic, settled: make(chan struct{}), peers: map[link.Peer]position{}}
		b.heard[topic] = h
		b.tasks.Add(h.settle)
	}
	s := &Subscription{of: h, handle: handle}
	h.subs = append(h.subs[:len(h.subs):len(h.subs)], s)
	return s, nil
}

// Cancel ends the subscription. A message that is being handled may still be delivered.
func (s *Subscription) Cancel() {
	h, b := s.of, s.of.bus
	b.mu.Lock()
	defer b.mu.Unlock()
	var left []*Subscription
	for _, have := range h.subs {
		if have != s {
			left = append(left, have)
		}
	}
	h.subs = left
	if len(left) == 0 && b.heard[h.topic] == h {
		delete(b.heard, h.topic)
		b.tasks.Add(h.settle)
	}
}

// Ready waits until the NATS server of this node has the subscription: what is published
// through that server from then on arrives. Other servers hear of it milliseconds later.
func (s *Subscription) Ready(ctx context.Context) error {
	w, err := wait.New[error](ctx)
	if err != nil {
		return err
	}
	s.of.bus.tasks.Add(func() { // behind settle
		<-s.of.settled
		if s.of.err != nil {
			w.Deliver(s.of.err)
			return
		}
		w.Deliver(s.of.bus.flush())
	})
	err, waited := w.Wait(ctx)
	if waited != nil {
		return waited
	}
	return err
}

// flushLimit bounds what Ready holds up.
const flushLimit = 2 * time.Second

func (b *Bus) flush() error {
	ctx, cancel := context.WithTimeout(context.Background(), flushLimit)
	defer cancel()
	return b.link.FlushTopics(ctx)
}

// settle tells NATS of the topic, or that nobody here wants it any more. The queue of
// tasks runs one at a time, so that what two of them tell is in their order.
func (h *heard) settle() {
	b := h.bus
	b.mu.Lock()
	wanted, have := b.heard[h.topic] == h && !b.closed, h.subscribed
	h.subscribed = wanted
	b.mu.Unlock()
	switch {
	case wanted && !have:
		h.err = b.link.SubscribeTopic(h.topic, h.arrived)
		close(h.settled)
	case !wanted && have:
		b.link.UnsubscribeTopic(h.topic)
	case !wanted:
		select {
		case <-h.settled:
		default:
			close(h.settled) // it ended before it began
		}
	}
}

// arrived hands a message to every subscription. What this node has published comes back
// from NATS and is dropped: it was delivered here when it was published.
func (h *heard) arrived(f *wire.Frame, in link.Arrival) {
	b, from := h.bus, link.Sender(f)
	if from == (link.Peer{Name: b.link.Self().Name, Number: b.link.Self().Number}) || !b.allowed(f, in) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	missed, again := h.note(from, position{f.Flow, f.At.Messages})
	if again {
		return
	}
	b.in.Add(1)
	b.missed.Add(missed)
	b.mu.Lock()
	subs := h.subs
	b.mu.Unlock()
	m := Message{From: from, Codec: f.Codec, Payload: f.Payload, Missed: missed}
	for _, s := range subs {
		s.handle(m)
	}
}

// note notes where a node is, and tells how many messages are missing before. The first
// message of a series tells nothing of those before it. h.mu is held.
func (h *heard) note(from link.Peer, at position) (missed uint64, again bool) {
	last, known := h.peers[from]
	if known && last.series == at.series {
		if at.count <= last.count {
			return 0, true
		}
		missed = at.count - last.count - 1
	}
	if !known && len(h.peers) >= maxPeers {
		clear(h.peers) // a peer can invent lives
	}
	h.peers[from] = at
	return missed, false
}

// NodeDown forgets a life of a node.
func (b *Bus) NodeDown(peer link.Peer) {
	b.mu.Lock()
	var all []*heard
	for _, h := range b.heard {
		all = append(all, h)
	}
	b.mu.Unlock()
	for _, h := range all {
		h.mu.Lock()
		delete(h.peers, peer)
		h.mu.Unlock()
	}
}

// Close takes no more subscriptions. Those that there are end with the connection.
func (b *Bus) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
}
