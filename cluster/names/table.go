package names

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/events"
	"github.com/loopmesh/loopmesh/cluster/internal/records"
	"github.com/loopmesh/loopmesh/cluster/internal/wait"
)

// table is what the follower has read: who owns which name, which nodes have a lease,
// and which lives of nodes are known to be dead. It wakes those who wait for a name and
// tells watchers; claims do not decide by it. Guarded by the room's mutex.
type table struct {
	own     map[string]row // by name
	leases  map[string]livelihood
	dead    map[string]uint64 // the latest life of a node that is known to be over
	waiters map[string]chan struct{}
	caught  bool
}

// row is the record of one name.
type row struct {
	ownership
	seq uint64
}

// maxDead bounds the lives that are remembered; the lease decides about older ones.
const maxDead = 4096

func newTable() table {
	return table{own: map[string]row{}, leases: map[string]livelihood{}, dead: map[string]uint64{}, waiters: map[string]chan struct{}{}}
}

// watch returns a channel that is closed when something happens to the name, or to
// whoever owns it.
func (t *table) watch(mu *sync.Mutex, name string) <-chan struct{} {
	mu.Lock()
	defer mu.Unlock()
	if t.waiters[name] == nil {
		t.waiters[name] = make(chan struct{})
	}
	return t.waiters[name]
}

// touch wakes those who wait for a name.
func (t *table) touch(name string) {
	if c := t.waiters[name]; c != nil {
		close(c)
		delete(t.waiters, name)
	}
}

// touchNode wakes those who wait for the names of a node.
func (t *table) touchNode(node string) {
	for name := range t.waiters {
		if t.own[name].Node == node || node == "" {
			t.touch(name)
		}
	}
}

// owned notes a record of a name.
func (t *table) owned(o ownership, seq uint64) {
	if have := t.own[o.Name]; have.seq >= seq {
		return
	}
	if o.Free {
		delete(t.own, o.Name)
	} else {
		t.own[o.Name] = row{o, seq}
	}
	t.touch(o.Name)
}

// holder is who owns a name by the table; the zero Owner when nobody does.
func (t *table) holder(name string, covers func(node string, life, period uint64) bool) Owner {
	o, ok := t.own[name]
	l := t.leases[o.Node]
	if !ok || l.Life != o.Life || l.Term != o.Term || t.dead[o.Node] >= o.Life && covers(o.Node, o.Life, o.Period) {
		return Owner{Name: name}
	}
	return ownerOf(o.ownership, o.seq)
}

// The follower may be behind the store, or silent for seconds when the server that served
// it is gone. So its table never decides a claim; it says when to look. What it decides
// by itself is only ever the end of something: an ownership of this node whose record
// somebody else has overwritten, or a claim of this node that its caller had given up
// before it became effective.

// follower hands records to the room.
type follower struct{ *room }

// Reset forgets what was read.
func (f follower) Reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.table.own)
	clear(f.table.leases)
	f.table.caught = false
}

// Caught wakes everybody: what was missed is known now.
func (f follower) Caught() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.table.caught = true
	f.table.touchNode("")
}

// Record reads one record.
func (f follower) Record(rec records.Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if node, ok := strings.CutPrefix(rec.Subject, leasePrefix); ok {
		f.readLease(node, rec)
		return
	}
	o, err := readOwnership(rec)
	if err != nil {
		f.parts.Log.Warn("the record of a name cannot be read", "subject", rec.Subject, "sequence", rec.Seq)
	}
	if o.Name == "" || ownSubject(o.Name) != rec.Subject { // a marker, or garbage
		f.vanished(rec)
		return
	}
	f.table.owned(o, rec.Seq)
	f.compare(o, rec.Seq)
}

// vanished handles a record under which no name can be read: whoever owned the name
// has lost it. mu is held.
func (f follower) vanished(rec records.Record) {
	for name, have := range f.table.own {
		if ownSubject(name) == rec.Subject && have.seq < rec.Seq {
			delete(f.table.own, name)
			f.table.touch(name)
		}
	}
	for name, o := range f.owned {
		if ownSubject(name) == rec.Subject && o.seq < rec.Seq {
			f.end(o, fmt.Errorf("%w: its record was overwritten", ErrLost))
		}
	}
}

// compare ends an ownership whose name somebody else has, and releases a claim that was
// given up and became effective later. mu is held.
func (f follower) compare(o ownership, seq uint64) {
	if have := f.owned[o.Name]; have != nil && have.owner.Token < o.token(seq) && have.as.Nonce != o.Nonce {
		f.end(have, fmt.Errorf("%w: node %s owns it, token %d", ErrLost, o.Node, o.token(seq)))
	}
	if !o.Free && o.Node == f.node.Name() && o.Life == f.node.Incarnation() && f.claims[o.Nonce] == 0 {
		orphan := &Ownership{room: f.room, owner: ownerOf(o, seq), done: make(chan struct{}), as: o, seq: seq}
		// goroutine: owner: room; ends when the store has answered, at most five seconds later
		f.work.Go(func() {
			if err := f.release(f.ctx, orphan); err != nil {
				f.parts.Log.Warn("a claim that was given up could not be released", "name", o.Name, "error", err)
			}
		})
	}
}

// readLease notes a lease; one of another life or term, or none, frees the names of the
// node. mu is held.
func (f follower) readLease(node string, rec records.Record) {
	l := readLease(rec)
	if l == (livelihood{}) {
		delete(f.table.leases, node)
	} else {
		l.Nonce = ""
		if f.table.leases[node] == l {
			return
		}
		f.table.leases[node] = l
	}
	f.table.touchNode(node)
}

// isDead reports whether membership knows that the owner of a record has ended, or does not
// act any more by what it had before it was given up.
func (r *room) isDead(o ownership) bool {
	r.mu.Lock()
	dead := r.table.dead[o.Node] >= o.Life
	r.mu.Unlock()
	return dead && r.covers(o.Node, o.Life, o.Period)
}

// deaths notes which lives of nodes are over. A node that joins ends its earlier lives,
// and nothing else: one that was given up and lives joins again, in the same life.
func (r *room) deaths() {
	for e := range r.node.Events(r.ctx) {
		over := e.Member.Incarnation
		switch e.Kind {
		case events.Joined:
			over--
		case events.Dead, events.Left:
			r.mu.Lock()
			over = max(over, r.table.dead[e.Member.Name])
			r.mu.Unlock()
		case events.Serving:
			r.verify()
			continue
		default:
			continue
		}
		r.mu.Lock()
		if len(r.table.dead) >= maxDead {
			clear(r.table.dead)
		}
		r.table.dead[e.Member.Name] = over
		r.table.touchNode(e.Member.Name)
		r.mu.Unlock()
	}
}

// Watch tells who owns a name: now, and at each change. It may leave out states that
// lasted shorter than the reader took. A zero Node means nobody. It waits between two
// of them, in a task of a loop or in a goroutine, and ends when ctx does or the node
// leaves. What it tells is what this node has heard: some milliseconds old, and up to a
// few seconds while no server is reached. Error: as of Resolve, before the first one.
func Watch(ctx context.Context, n *cluster.Node, name string) (iter.Seq[Owner], error) {
	r, err := enter(ctx, n, name)
	if err != nil {
		return nil, err
	}
	if _, err := Resolve(ctx, n, name); err != nil && !errors.Is(err, ErrNotClaimed) {
		return nil, err
	}
	r.start()
	return func(yield func(Owner) bool) {
		var told *Owner
		for ctx.Err() == nil && r.ctx.Err() == nil {
			changed := r.table.watch(&r.mu, name)
			r.mu.Lock()
			now, caught := r.table.holder(name, r.covers), r.table.caught
			r.mu.Unlock()
			if caught && (told == nil || *told != now) {
				if told = &now; !yield(now) {
					return
				}
				continue
			}
			if _, err := wait.Do(ctx, func(ctx context.Context) (struct{}, error) {
				select {
				case <-changed:
				case <-ctx.Done():
				case <-r.ctx.Done():
				}
				return struct{}{}, nil
			}); err != nil {
				return
			}
		}
	}, nil
}

func sortOwners(list []Owner) {
	slices.SortFunc(list, func(a, b Owner) int { return strings.Compare(a.Name, b.Name) })
}
