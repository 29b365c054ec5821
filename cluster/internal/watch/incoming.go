package watch

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

// The holding half: watches of other nodes on what is here. A watch waits (it is in
// byPath) or has ended (its Terminated is repeated until it is answered). Besides, it
// is parked while its node counts as dead: nothing is sent then, and the node may
// come back and ask again. It leaves the table when the other node says Unwatch,
// leaves for good, or was parked for too long.
//
// Invariant: a watch is in byPath exactly while its path has not ended, and the owner
// has been ordered to look for the end of a path exactly while byPath has an entry
// for it.

// key names a watch of another node.
type key struct {
	from Node
	id   uint64
}

// incoming is one watch of another node. Owned by Incoming.
type incoming struct {
	key    key
	order  uint64 // of arrival
	path   string
	ended  bool
	reason error
	sent   time.Duration
	parked bool // its node was given up
	queued bool // in repeats
	over   bool // out of the table
}

func (w *incoming) done() bool { return w.over || w.parked }

func (w *incoming) unqueued() { w.queued = false }

// parked is a node that was given up, and since when.
type parked struct {
	node  Node
	since time.Duration
}

// Order tells the owner to look for the end of what has that path, or to stop.
type Order struct {
	Path  string
	Begin bool
}

// Incoming are the watches of other nodes on paths of this one. A watch whose path
// has ended stays until the other node has answered Terminated, or is gone. The
// caller serialises all calls.
type Incoming struct {
	cfg     Config
	byKey   map[key]*incoming
	byNode  map[Node]map[uint64]*incoming
	byName  map[string]int               // how many, all lives of a name together
	byPath  map[string]map[key]*incoming // those that have not ended
	parked  []parked                     // nodes that were given up, oldest first
	repeats repeats[*incoming]           // those that have
	out     []Message
	orders  []Order

	arrivals uint64
}

// NewIncoming makes an empty table.
func NewIncoming(cfg Config) *Incoming {
	return &Incoming{cfg: cfg, byKey: map[key]*incoming{}, byNode: map[Node]map[uint64]*incoming{}, byName: map[string]int{}, byPath: map[string]map[key]*incoming{}}
}

// Take returns the messages to send and the orders to carry out, each in order,
// since the last Take. The owner answers an order to begin with Ended when the path
// ends, at once when nothing has that path.
func (t *Incoming) Take() (out []Message, orders []Order) {
	out, orders = t.out, t.orders
	t.out, t.orders = nil, nil
	return out, orders
}

// Watch takes a watch of another node and answers it. A repeated one changes nothing.
func (t *Incoming) Watch(now time.Duration, from Node, id uint64, path string) {
	k := key{from, id}
	w := t.byKey[k]
	if w == nil && len(t.byKey) >= t.cfg.MaxTotal {
		t.makeRoom()
	}
	switch {
	case w != nil:
		w.parked = false
		if w.ended {
			t.tell(now, w)
			return
		}
	case len(t.byKey) >= t.cfg.MaxTotal:
		t.refuse(k, t.cfg.MaxTotal)
		return
	case t.byName[from.Name] >= t.cfg.MaxPerNode:
		t.refuse(k, t.cfg.MaxPerNode)
		return
	default:
		t.add(k, path)
	}
	t.out = append(t.out, Message{Kind: Watching, To: from, ID: id})
}

// refuse answers a watch that is not kept. Nothing is remembered of it: the other
// node repeats its question until it is answered.
func (t *Incoming) refuse(k key, limit int) {
	t.out = append(t.out, Message{Kind: Terminated, To: k.from, ID: k.id, Reason: fmt.Errorf("%w: %d are the limit", ErrLimit, limit)})
}

// add keeps a watch, and orders the owner to look for the end of its path if it is
// the first one.
func (t *Incoming) add(k key, path string) {
	t.arrivals++
	w := &incoming{key: k, order: t.arrivals, path: path}
	t.byKey[k] = w
	if t.byNode[k.from] == nil {
		t.byNode[k.from] = map[uint64]*incoming{}
	}
	t.byNode[k.from][k.id] = w
	t.byName[k.from.Name]++
	if t.byPath[path] == nil {
		t.byPath[path] = map[key]*incoming{}
		t.orders = append(t.orders, Order{path, true})
	}
	t.byPath[path][k] = w
}

// remove takes a watch out, and takes the order back with the last one of its path.
func (t *Incoming) remove(w *incoming) {
	w.over = true
	delete(t.byKey, w.key)
	delete(t.byNode[w.key.from], w.key.id)
	if len(t.byNode[w.key.from]) == 0 {
		delete(t.byNode, w.key.from)
	}
	if t.byName[w.key.from.Name]--; t.byName[w.key.from.Name] == 0 {
		delete(t.byName, w.key.from.Name)
	}
	if w.ended {
		return
	}
	delete(t.byPath[w.path], w.key)
	if len(t.byPath[w.path]) == 0 {
		delete(t.byPath, w.path)
		t.orders = append(t.orders, Order{w.path, false})
	}
}

// Unwatch forgets a watch.
func (t *Incoming) Unwatch(from Node, id uint64) {
	if w := t.byKey[key{from, id}]; w != nil {
		t.remove(w)
	}
}

// NodeDown parks the watches of a node that was given up. It may only have been cut
// off. Then it repeats its watches, and must hear of those whose path has ended
// meanwhile, even if something else has that path now. Parked watches are forgotten
// after Config.Park, and before a watch of another node is refused.
func (t *Incoming) NodeDown(now time.Duration, node Node) {
	if len(t.byNode[node]) == 0 {
		return
	}
	for _, w := range t.byNode[node] {
		w.parked = true
	}
	t.parked = append(t.parked, parked{node, now})
}

// Forget forgets the watches of a node that has left or was replaced.
func (t *Incoming) Forget(node Node) {
	for _, w := range sorted(t.byNode[node]) {
		t.remove(w)
	}
}

// makeRoom forgets the watches of the node that was given up first.
func (t *Incoming) makeRoom() {
	for len(t.parked) > 0 && len(t.byKey) >= t.cfg.MaxTotal {
		t.unpark()
	}
}

// unpark forgets what is still parked of the node that was given up first.
func (t *Incoming) unpark() {
	node := t.parked[0].node
	t.parked = t.parked[1:]
	for _, w := range sorted(t.byNode[node]) {
		if w.parked {
			t.remove(w)
		}
	}
}

// Ended says that what had that path has ended. Everybody who watches it is told.
func (t *Incoming) Ended(now time.Duration, path string, reason error) {
	watchers := slices.SortedFunc(maps.Values(t.byPath[path]), func(a, b *incoming) int { return cmp.Compare(a.order, b.order) })
	delete(t.byPath, path)
	for _, w := range watchers {
		w.ended, w.reason = true, reason
		if !w.parked {
			t.tell(now, w)
		}
	}
}

// EndAll says that everything ends: the node leaves.
func (t *Incoming) EndAll(now time.Duration, reason error) {
	for _, path := range slices.Sorted(maps.Keys(t.byPath)) {
		t.Ended(now, path, reason)
	}
}

// tell sends Terminated and queues its repetition.
func (t *Incoming) tell(now time.Duration, w *incoming) {
	w.sent = now
	if !w.queued {
		w.queued = true
		t.repeats.add(w, len(t.byKey))
	}
	t.out = append(t.out, Message{Kind: Terminated, To: w.key.from, ID: w.key.id, Reason: w.reason})
}

// Tick repeats notices that were not answered and forgets what was parked for long.
func (t *Incoming) Tick(now time.Duration) {
	for len(t.parked) > 0 && now-t.parked[0].since >= t.cfg.Park {
		t.unpark()
	}
	for range t.cfg.AtOnce {
		w, ok := t.repeats.first()
		switch {
		case !ok:
			return
		case w.done():
			t.repeats.drop()
		case now-w.sent < t.cfg.Repeat:
			return
		default:
			t.repeats.drop()
			t.tell(now, w)
		}
	}
}

// Count is how many watches are kept.
func (t *Incoming) Count() int { return len(t.byKey) }
