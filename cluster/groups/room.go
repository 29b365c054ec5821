package groups

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/events"
	"github.com/loopmesh/loopmesh/cluster/internal/codec"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
	"github.com/loopmesh/loopmesh/cluster/internal/link"
	"github.com/loopmesh/loopmesh/cluster/internal/pubsub"
	"github.com/loopmesh/loopmesh/cluster/internal/ratelog"
	"github.com/loopmesh/loopmesh/cluster/internal/roster"
	"github.com/loopmesh/loopmesh/loopnode"
)

// How nodes hear of each other. All messages go to one topic of the nodes' own ($groups), so
// a node publishes a change once, whoever listens. What a node publishes has one order,
// because one goroutine publishes all of it; a copy applies it in that order, and finds out
// by the version when something is missing. Questions go to the same topic and name who is
// asked; the answer is the whole set, which everybody hears, so ten nodes that begin at once
// cost one answer. A node that just began asks everybody; a node that has just become a
// member is asked by everybody who has no copy of its set.
//
// Who is alive is not decided here: membership says so, and says it before a copy is of
// use. A message of a node that is not known yet is kept until it is.

// room is what a node tells of itself and knows of the others: one for each node, made
// when it is first asked for. Two goroutines: tell sends deltas, digests, questions and
// answers, so that what this node says has one order; follow hears from membership who
// lives. What others say arrives on the goroutine of the topic.
//
// Invariant: only nodes that membership takes for alive are looked at (alive), so what a
// dead node said is gone the moment it is known to be dead.
type room struct {
	node  *cluster.Node
	parts *inside.Parts
	begun time.Time

	ctx    context.Context // ends when the node leaves
	cancel context.CancelFunc
	work   sync.WaitGroup
	begin  sync.Once
	wake   chan struct{} // something is to be told
	quiet  ratelog.Line

	mu     sync.Mutex
	own    *roster.Own
	loops  map[*loopnode.Loop]*hosted
	asked  map[string]bool // nodes to ask; "" for all
	answer bool            // somebody has asked this node
	copies map[link.Peer]*roster.Copy
	alive  map[link.Peer]bool
	stamp  uint64
	load   map[string]int // calls of this node under way, by the target
	closed bool

	withdrawn bool // no loop joins a group any more
}

// topicName is where nodes tell each other.
const topicName = "$groups"

// Times of the room.
const (
	gather    = 2 * time.Millisecond // what is told soon after one another travels together
	digest    = time.Second
	answerGap = 200 * time.Millisecond // between two times that the whole set is sent
	settle    = 2 * time.Second        // when everything is known, at the latest
)

// maxCopies bounds the nodes whose sets are kept: a peer can invent names.
const maxCopies = 1024

type roomKey struct{}

// roomOf is the room of a node. It starts with the first use.
func roomOf(n *cluster.Node) *room {
	parts := n.Inside(inside.Key{})
	r := inside.Shared(parts, roomKey{}, func() *room {
		r := &room{
			node: n, parts: parts, begun: time.Now(), wake: make(chan struct{}, 1), own: roster.NewOwn(),
			loops: map[*loopnode.Loop]*hosted{}, asked: map[string]bool{"": true}, copies: map[link.Peer]*roster.Copy{},
			alive: map[link.Peer]bool{}, load: map[string]int{},
		}
		r.ctx, r.cancel = context.WithCancel(context.Background())
		return r
	})
	r.begin.Do(r.start)
	return r
}

func (r *room) start() {
	r.parts.OnClose(r.close)
	r.parts.OnLeave(r.withdraw)
	sub, err := r.parts.Topics.Subscribe(topicName, r.arrived)
	if err != nil {
		return // the node has been closed
	}
	// goroutine: owner: room; ends when close cancels r.ctx
	r.work.Go(func() { r.tell(sub) })
	// goroutine: owner: room; ends when close cancels r.ctx
	r.work.Go(r.follow)
}

// close takes back what this node has told, and ends.
func (r *room) close() {
	r.mu.Lock()
	r.closed = true
	for loop, h := range r.loops {
		h.unhook()
		delete(r.loops, loop)
	}
	r.mu.Unlock()
	r.cancel()
	r.work.Wait()
}

// withdraw takes the loops of this node out of their groups, for good: the node is leaving.
// Keys stay: their connections are still here.
func (r *room) withdraw() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.withdrawn = true
	for loop, h := range r.loops {
		h.unhook()
		delete(r.loops, loop)
		for e, times := range h.in {
			for range times {
				r.own.Remove(e)
			}
		}
	}
	r.poke()
}

// poke has the goroutine tell look.
func (r *room) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// tell sends what is to be sent, until the node leaves.
func (r *room) tell(sub *pubsub.Subscription) {
	_ = sub.Ready(r.ctx) // cut off: the answers come when digests do
	beat := time.NewTicker(digest)
	defer beat.Stop()
	r.poke()
	var answered time.Time
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-beat.C:
			r.beat()
		case <-r.wake:
			pause := time.NewTimer(gather)
			select {
			case <-pause.C:
			case <-r.ctx.Done():
				pause.Stop()
				return
			}
		}
		r.say(&answered)
	}
}

// beat tells the version of this node's set.
func (r *room) beat() {
	r.mu.Lock()
	m := r.own.Digest()
	r.mu.Unlock()
	if m.Version > 0 {
		r.publish(m)
	}
}

// say sends changes, questions, and the whole set when somebody asked for it.
func (r *room) say(answered *time.Time) {
	r.mu.Lock()
	out := r.own.Deltas()
	for of := range r.asked {
		out = append(out, roster.Message{Kind: roster.Ask, Of: of})
	}
	clear(r.asked)
	switch early := answerGap - time.Since(*answered); {
	case !r.answer:
	case early > 0:
		time.AfterFunc(early, r.poke)
	default:
		r.answer, *answered = false, time.Now()
		out = append(out, r.own.Pages()...)
	}
	r.mu.Unlock()
	for _, m := range out {
		r.publish(m)
	}
}

// publish sends a message. One that is lost is found out by the next digest.
func (r *room) publish(m roster.Message) {
	c, payload, err := codec.Encode(m)
	if err == nil {
		err = r.parts.Topics.Publish(topicName, c, payload)
	}
	if err != nil && r.ctx.Err() == nil {
		if ok, more := r.quiet.Allow(); ok {
			r.parts.Log.Warn("what this node has could not be told to the others; it is told again", "error", err, "kept_back", more)
		}
	}
}

// arrived takes what another node says. Goroutine of the topic.
func (r *room) arrived(in pubsub.Message) {
	m, err := codec.Decode[roster.Message](in.Codec, in.Payload)
	if err != nil {
		if ok, more := r.quiet.Allow(); ok {
			r.parts.Log.Warn("what a node says of its groups cannot be read", "from", in.From.Name, "error", err, "kept_back", more)
		}
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.Kind == roster.Ask {
		if m.Of == "" || m.Of == r.node.Name() {
			r.answer = true
			r.poke()
		}
		return
	}
	c := r.copies[in.From]
	if c == nil {
		if len(r.copies) >= maxCopies {
			r.dropStrangers()
		}
		if len(r.copies) >= maxCopies {
			return
		}
		c = roster.NewCopy()
		r.copies[in.From] = c
	}
	ask, _ := c.Take(m, func() uint64 { r.stamp++; return r.stamp })
	if ask {
		r.asked[in.From.Name] = true
		r.poke()
	}
}

// dropStrangers forgets what nodes said that are no members. r.mu is held.
func (r *room) dropStrangers() {
	for peer := range r.copies {
		if !r.alive[peer] {
			delete(r.copies, peer)
		}
	}
}

// follow hears who lives. What a node says may come before membership knows of it, and is
// kept until then.
func (r *room) follow() {
	for e := range r.node.Events(r.ctx) {
		peer := link.Peer{Name: e.Member.Name, Number: e.Member.Incarnation}
		r.mu.Lock()
		switch e.Kind {
		case events.Joined:
			r.alive[peer] = true
			if r.copies[peer] == nil {
				r.asked[peer.Name] = true // do not wait for its digest
				r.poke()
			}
		case events.Dead, events.Left:
			delete(r.alive, peer)
			delete(r.copies, peer)
		case events.Lagged:
			clear(r.alive)
		}
		r.mu.Unlock()
	}
}

// enter adds an entry to this node's set. r.mu is held.
func (r *room) enter(e roster.Entry) error {
	switch {
	case r.closed:
		return fmt.Errorf("%w: the node is leaving", fault.ErrClosed)
	case r.own.Len() >= roster.MaxEntries:
		return fault.Config("this node tells of %d groups and keys already, which is the most", roster.MaxEntries)
	}
	r.own.Add(e)
	r.poke()
	return nil
}

// leave takes an entry away.
func (r *room) leave(e roster.Entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.own.Remove(e)
		r.poke()
	}
}

func checkText(what, s string) error {
	if s == "" || len(s) > roster.MaxText {
		return fault.Config("%s %q: use 1 to %d bytes", what, s, roster.MaxText)
	}
	return nil
}
