package topics

import (
	"context"
	"errors"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/codec"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/pubsub"
	"github.com/loopmesh/loopmesh/loopnode"
)

// ErrSlow is Gap.Reason when the subscriber's loop did not take messages as fast as they
// came.
var ErrSlow = errors.New("the loop does not take messages as fast as they come")

// Topic is a name and the type of what is published under it. A value that can be made
// anew at any time: rooms of a chat need no list of topics. Any goroutine.
type Topic[T any] struct{ name string }

// Named is the topic of that name, 1 to 128 bytes that do not begin with $; what cannot
// be a name is refused by Publish and Subscribe. Values of T travel as arguments of
// cluster functions do.
func Named[T any](name string) Topic[T] { return Topic[T]{name} }

// Name is the topic's name.
func (t Topic[T]) Name() string { return t.name }

func (t Topic[T]) check(n *cluster.Node) error {
	if n == nil {
		return fault.Config("topic %q: needs a node, not nil", t.name)
	}
	if pubsub.Internal(t.name) {
		return fault.Config("topic %q: names that begin with $ belong to the nodes", t.name)
	}
	return pubsub.CheckTopic(t.name)
}

// Message is what a subscriber gets. Value is shared by all subscribers of the topic on
// the node, those of the publisher's node included: it must not be changed.
type Message[T any] struct {
	Topic string
	Node  string // that published it
	Value T
}

// Gap says that messages did not reach a subscriber. It is told in its place: behind what
// came before the missing messages, and before what came after.
type Gap struct {
	Topic  string
	Missed uint64
	Reason error // ErrSlow, cluster.ErrLost, or cluster.ErrBadPayload where a message did not fit the type
}

// Publish gives v to the subscribers of the topic on every node, this one included, at
// most once. It does not wait, and nil does not say that anybody has it: subscribers of
// this node get it in a turn of their loops, and NATS carries one frame to each other node
// that has any. What one goroutine publishes to a topic keeps its order.
//
// Errors: ErrConfig, ErrBadPayload, ErrTooLarge, ErrRefused (this node's keys do not let it
// publish to the topic): nobody has it. ErrDisconnected, ErrClosed: at most the subscribers
// of this node have it.
func (t Topic[T]) Publish(n *cluster.Node, v T) error {
	if err := t.check(n); err != nil {
		return err
	}
	c := &carried{topic: t.name, node: n.Name(), local: v}
	var err error
	if c.codec, c.payload, err = codec.Encode(v); err != nil {
		return err
	}
	table := tableOf(n)
	err = table.bus.Publish(t.name, c.codec, c.payload)
	if err == nil || errors.Is(err, cluster.ErrDisconnected) || errors.Is(err, cluster.ErrClosed) {
		table.deliver(c)
	}
	return err
}

// Option changes a subscription.
type Option func(*options)

type options struct{ gap func(Gap) }

// OnGap has fn called on the loop when messages did not reach the subscriber. Without it
// they are only counted (StatsOf).
func OnGap(fn func(Gap)) Option { return func(o *options) { o.gap = fn } }

// Subscription is one that Subscribe made. Any goroutine.
type Subscription struct {
	cancel func()
	bus    *pubsub.Subscription
}

// Subscribe has fn called on loop, a loop of this process, for each message that is
// published to the topic from now on, until Cancel or the end of the loop or node. fn runs
// as a callback of the loop: it must not wait; CreateTask is for what does. Messages of
// one publisher come in their order.
//
// A loop that does not take its messages gets no more when 1,024 of a topic, 8,192 of all
// its topics or 16 MiB wait for it: newer ones are dropped, counted, and told as a Gap.
// Other loops and nodes do not notice.
//
// Subscribe does not wait, so what is published in the same moment may be missed: see
// Ready. Errors: ErrConfig, ErrClosed.
func (t Topic[T]) Subscribe(n *cluster.Node, loop loopnode.Ref, fn func(Message[T]), opts ...Option) (*Subscription, error) {
	if err := t.check(n); err != nil {
		return nil, err
	}
	local, ok := loop.Local()
	switch {
	case fn == nil:
		return nil, fault.Config("topic %q: Subscribe needs a function, not nil", t.name)
	case !ok:
		return nil, fault.Config("topic %q: the loop %s is not of this process: its own node subscribes", t.name, loop)
	}
	s := &subscriber[T]{fn: fn}
	for _, set := range opts {
		if set != nil {
			set(&s.options)
		}
	}
	return subscribe(tableOf(n), t.name, local, s)
}

// Cancel ends the subscription. Called on its loop, fn is not called any more; called
// elsewhere, a call that has begun goes on.
func (s *Subscription) Cancel() { s.cancel() }

// Ready waits until the NATS server that the node uses has the subscription. What is
// published on a node of the same server from then on arrives; nodes of other servers know
// of the subscription milliseconds later. Errors: ErrDisconnected, ErrClosed, ctx's.
func (s *Subscription) Ready(ctx context.Context) error {
	if ctx == nil {
		return fault.Config("Ready needs a ctx, not nil")
	}
	return s.bus.Ready(ctx)
}

// Stats are counters of a node's topics since its start, and some levels.
type Stats struct {
	Published     uint64 `json:"published"`     // frames sent: one for each message
	Received      uint64 `json:"received"`      // frames of other nodes: one for each message
	Delivered     uint64 `json:"delivered"`     // calls of subscribers
	Dropped       uint64 `json:"dropped"`       // messages that a loop did not get because it was slow
	Lost          uint64 `json:"lost"`          // messages of other nodes that never arrived
	Unreadable    uint64 `json:"unreadable"`    // messages that did not fit the type of subscribers
	Subscriptions int    `json:"subscriptions"` // of this node
	Topics        int    `json:"topics"`        // that they are of
}

// StatsOf reads the counters of a node. A nil node has none.
func StatsOf(n *cluster.Node) Stats {
	if n == nil {
		return Stats{}
	}
	return tableOf(n).stats()
}
