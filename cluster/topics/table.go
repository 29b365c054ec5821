package topics

import (
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/codec"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
	"github.com/loopmesh/loopmesh/cluster/internal/pubsub"
	"github.com/loopmesh/loopmesh/internal/guard"
	"github.com/loopmesh/loopmesh/internal/wire"
	"github.com/loopmesh/loopmesh/loopnode"
)

// A message comes to a node once. From there it goes through three steps:
//
//	table    topic → kinds: for each type that subscribers of the topic have here, the
//	         message is decoded once
//	kind     → lanes: one for each loop that has subscribers of that type
//	mailbox  one for each loop: what waits for it, of all its topics; bounded
//
// A callback of the loop takes messages out of the mailbox and calls the subscribers.

// table is the topics that a node subscribes to.
type table struct {
	parts *inside.Parts
	bus   *pubsub.Bus
	begin sync.Once

	mu     sync.Mutex // before mailbox.mu
	topics map[string]*entry
	boxes  map[*loopnode.Loop]*mailbox
	closed bool

	delivered, dropped, unreadable atomic.Uint64
}

// entry is a topic with at least one subscriber here.
type entry struct {
	kinds map[reflect.Type]kind
	bus   *pubsub.Subscription
	count int // of subscribers
}

// kind is the subscribers of one topic with one type.
type kind interface {
	// deliver queues a message for each loop.
	deliver(*table, *carried)
	// lost queues a gap for each loop. table.mu is held.
	lost(Gap)
	// close forgets a loop and tells how many subscribers it had. table.mu is held.
	close(*loopnode.Loop) int
}

type tableKey struct{}

func tableOf(n *cluster.Node) *table {
	parts := n.Inside(inside.Key{})
	return inside.Shared(parts, tableKey{}, func() *table {
		return &table{parts: parts, bus: parts.Topics, topics: map[string]*entry{}, boxes: map[*loopnode.Loop]*mailbox{}}
	})
}

// carried is a message on its way to the subscribers of this node.
type carried struct {
	topic, node string
	codec       wire.Codec
	payload     []byte
	local       any // what was published here; nil when it came from another node
}

// valueOf is the message as a T. What this node has published as a T is not encoded.
func valueOf[T any](c *carried) (v T, err error) {
	if v, ok := c.local.(T); ok && reflect.TypeOf(c.local) == reflect.TypeFor[T]() {
		return v, nil
	}
	if p := guard.Call(func() { v, err = codec.Decode[T](c.codec, c.payload) }); p != nil {
		err = fault.Codef(wire.BadPayload, "%w: %v cannot be read: %w", fault.ErrBadPayload, reflect.TypeFor[T](), p)
	}
	return v, err
}

// deliver hands a message to the loops that have subscribers. It does not wait.
func (t *table) deliver(c *carried) {
	t.mu.Lock()
	var kinds []kind
	if e := t.topics[c.topic]; e != nil {
		for _, k := range e.kinds {
			kinds = append(kinds, k)
		}
	}
	t.mu.Unlock()
	for _, k := range kinds { // what decodes is the user's, and may subscribe
		k.deliver(t, c)
	}
}

// arrived takes a message of another node. Goroutine of the topic.
func (t *table) arrived(topic string, m pubsub.Message) {
	if m.Missed > 0 {
		t.mu.Lock()
		if e := t.topics[topic]; e != nil {
			for _, k := range e.kinds {
				k.lost(Gap{Topic: topic, Missed: m.Missed, Reason: cluster.ErrLost})
			}
		}
		t.mu.Unlock()
	}
	t.deliver(&carried{topic: topic, node: m.From.Name, codec: m.Codec, payload: m.Payload})
}

// subscribe adds a subscriber.
func subscribe[T any](t *table, topic string, loop *loopnode.Loop, s *subscriber[T]) (*Subscription, error) {
	t.begin.Do(func() { t.parts.OnClose(t.close) })
	t.mu.Lock()
	defer t.mu.Unlock()
	box, err := t.boxOf(loop)
	if err != nil {
		return nil, err
	}
	e := t.topics[topic]
	if e == nil {
		bus, err := t.bus.Subscribe(topic, func(m pubsub.Message) { t.arrived(topic, m) })
		if err != nil {
			return nil, err
		}
		e = &entry{kinds: map[reflect.Type]kind{}, bus: bus}
		t.topics[topic] = e
	}
	k, _ := e.kinds[reflect.TypeFor[T]()].(*kindOf[T])
	if k == nil {
		k = &kindOf[T]{lanes: map[*loopnode.Loop]*lane[T]{}}
		e.kinds[reflect.TypeFor[T]()] = k
	}
	k.add(topic, box, s)
	e.count++
	return &Subscription{bus: e.bus, cancel: func() { unsubscribe(t, topic, e, loop, k, s) }}, nil
}

// unsubscribe takes a subscriber out.
func unsubscribe[T any](t *table, topic string, e *entry, loop *loopnode.Loop, k *kindOf[T], s *subscriber[T]) {
	if s.over.Swap(true) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if k.remove(loop) {
		e.count--
		if len(k.lanes) == 0 {
			delete(e.kinds, reflect.TypeFor[T]())
		}
		t.dropEmpty(topic, e)
	}
}

// dropEmpty forgets a topic without subscribers. t.mu is held.
func (t *table) dropEmpty(topic string, e *entry) {
	if e.count == 0 && t.topics[topic] == e {
		delete(t.topics, topic)
		e.bus.Cancel()
	}
}

// boxOf is the mailbox of a loop. The hook is registered without t.mu, because it takes
// t.mu and runs at once where the loop is closed. A loop that closes afterwards is marked
// as closed before its hooks run: so either this refuses it, or the hook finds the box.
// t.mu is held, and let go in between.
func (t *table) boxOf(loop *loopnode.Loop) (*mailbox, error) {
	if t.boxes[loop] == nil {
		t.mu.Unlock()
		unhook := loop.OnClose(func() { t.loopClosed(loop) })
		t.mu.Lock()
		if box := t.boxes[loop]; box != nil {
			unhook() // another goroutine was first
		} else if !t.closed && loop.CloseReason() == nil {
			t.boxes[loop] = &mailbox{table: t, loop: loop, unhook: unhook}
		}
	}
	if err := loop.CloseReason(); err != nil {
		return nil, fmt.Errorf("%w: %w", fault.ErrClosed, err)
	}
	if t.closed {
		return nil, fmt.Errorf("%w: the node is leaving", fault.ErrClosed)
	}
	return t.boxes[loop], nil
}

// loopClosed forgets the subscribers of a loop.
func (t *table) loopClosed(loop *loopnode.Loop) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.boxes, loop)
	for topic, e := range t.topics {
		for _, k := range e.kinds {
			e.count -= k.close(loop)
		}
		t.dropEmpty(topic, e)
	}
}

// close ends every subscription: the node leaves. What waits for loops is still
// delivered.
func (t *table) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, box := range t.boxes {
		box.unhook()
	}
	clear(t.boxes)
	for topic, e := range t.topics {
		e.count = 0
		t.dropEmpty(topic, e)
	}
}

func (t *table) stats() Stats {
	c := t.bus.Counters()
	s := Stats{
		Published: c.Out, Received: c.In, Lost: c.Missed,
		Delivered: t.delivered.Load(), Dropped: t.dropped.Load(), Unreadable: t.unreadable.Load(),
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s.Topics = len(t.topics)
	for _, e := range t.topics {
		s.Subscriptions += e.count
	}
	return s
}
