package watch

import (
	"errors"
	"fmt"
	"time"
)

// The asking half: watches of this node on what is elsewhere. A watch is repeated
// until it is answered by Watching; after that nothing is sent until its end, because
// the other node repeats Terminated until it is answered. Taking a watch out of byID
// is what ends it, so it ends once.

// ErrLimit: there are as many watches as may be kept.
var ErrLimit = errors.New("too many watches")

// outgoing is one watch of this node. Owned by Outgoing.
type outgoing struct {
	id       uint64
	to       Node
	path     string
	answered bool
	sent     time.Duration
	queued   bool // in repeats
	over     bool // out of the table
}

func (w *outgoing) done() bool { return w.over }
func (w *outgoing) unqueued()  { w.queued = false }

// Ended is how a watch of this node has ended.
type Ended struct {
	ID     uint64
	Reason error
}

// Outgoing are the watches of this node on others. The caller serialises all calls.
type Outgoing struct {
	cfg     Config
	byID    map[uint64]*outgoing
	byNode  map[Node]map[uint64]*outgoing
	repeats repeats[*outgoing]
	out     []Message
	ended   []Ended
	foreign uint64
}

// NewOutgoing makes an empty table.
func NewOutgoing(cfg Config) *Outgoing {
	return &Outgoing{cfg: cfg, byID: map[uint64]*outgoing{}, byNode: map[Node]map[uint64]*outgoing{}}
}

// Take returns the messages to send and the watches that have ended, each in order,
// since the last Take.
func (o *Outgoing) Take() (out []Message, ended []Ended) {
	out, ended = o.out, o.ended
	o.out, o.ended = nil, nil
	return out, ended
}

// Watch begins a watch. id is one that this node has not used before. Error: ErrLimit.
func (o *Outgoing) Watch(now time.Duration, id uint64, to Node, path string) error {
	if len(o.byID) >= o.cfg.MaxTotal {
		return fmt.Errorf("%w: %d are the limit of a node", ErrLimit, o.cfg.MaxTotal)
	}
	w := &outgoing{id: id, to: to, path: path}
	o.byID[id] = w
	if o.byNode[to] == nil {
		o.byNode[to] = map[uint64]*outgoing{}
	}
	o.byNode[to][id] = w
	o.send(now, w)
	return nil
}

// send says Watch, and queues its repetition.
func (o *Outgoing) send(now time.Duration, w *outgoing) {
	w.sent = now
	if !w.queued {
		w.queued = true
		o.repeats.add(w, len(o.byID))
	}
	o.out = append(o.out, Message{Kind: Watch, To: w.to, ID: w.id, Path: w.path})
}

// remove takes a watch out of the table: whoever does it ends the watch.
func (o *Outgoing) remove(w *outgoing) {
	w.over = true
	delete(o.byID, w.id)
	delete(o.byNode[w.to], w.id)
	if len(o.byNode[w.to]) == 0 {
		delete(o.byNode, w.to)
	}
}

// Unwatch takes a watch back. False when it has ended: its end was or will be told.
func (o *Outgoing) Unwatch(id uint64) bool {
	w := o.byID[id]
	if w == nil {
		return false
	}
	o.remove(w)
	o.out = append(o.out, Message{Kind: Unwatch, To: w.to, ID: id})
	return true
}

// Watching takes the answer that the watch is kept.
func (o *Outgoing) Watching(from Node, id uint64) {
	switch w := o.byID[id]; {
	case w == nil:
	case w.to != from:
		o.foreign++
	default:
		w.answered = true
	}
}

// Terminated takes the end of what was watched. It is answered even when nobody
// wants it any more: it would be repeated.
func (o *Outgoing) Terminated(from Node, id uint64, reason error) {
	w := o.byID[id]
	if w != nil && w.to != from {
		o.foreign++
		return
	}
	o.out = append(o.out, Message{Kind: Unwatch, To: from, ID: id})
	if w != nil {
		o.end(w, reason)
	}
}

func (o *Outgoing) end(w *outgoing, reason error) {
	o.remove(w)
	o.ended = append(o.ended, Ended{w.id, reason})
}

// NodeDown ends all watches of that life of a node.
func (o *Outgoing) NodeDown(node Node, reason error) {
	for _, w := range sorted(o.byNode[node]) {
		o.end(w, reason)
	}
}

// Again repeats all watches: others may have given this node up, and have parked
// them. They are made due and not sent at once, so that Tick spreads many of them
// over several ticks.
func (o *Outgoing) Again(now time.Duration) {
	for _, w := range sorted(o.byID) {
		w.answered = false
		w.sent = now - o.cfg.Repeat // due at once
		if !w.queued {
			w.queued = true
			o.repeats.add(w, len(o.byID))
		}
	}
}

// Tick repeats what was not answered.
func (o *Outgoing) Tick(now time.Duration) {
	for range o.cfg.AtOnce {
		w, ok := o.repeats.first()
		switch {
		case !ok:
			return
		case w.over || w.answered:
			o.repeats.drop()
		case now-w.sent < o.cfg.Repeat:
			return
		default:
			o.repeats.drop()
			o.send(now, w)
		}
	}
}

// Unanswered is how many watches have not been answered yet.
func (o *Outgoing) Unanswered() (n int) {
	for _, w := range o.byID {
		if !w.answered {
			n++
		}
	}
	return n
}

// Count is how many watches have not ended.
func (o *Outgoing) Count() int { return len(o.byID) }

// Nodes are those that something is watched on.
func (o *Outgoing) Nodes() []Node {
	out := make([]Node, 0, len(o.byNode))
	for node := range o.byNode {
		out = append(out, node)
	}
	return out
}

// Foreign counts answers of nodes that were not asked.
func (o *Outgoing) Foreign() uint64 { return o.foreign }
