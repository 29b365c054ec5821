package names

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/admit"
	"github.com/loopmesh/loopmesh/cluster/internal/engine"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
	"github.com/loopmesh/loopmesh/cluster/internal/lease"
	"github.com/loopmesh/loopmesh/cluster/internal/records"
)

// room is what a node knows of names and owns of them: one for each node, made when it
// is first asked for. Three goroutines: keep renews the lease, the follower reads
// records of names and leases, and deaths hears of nodes that are gone. They start with
// the first claim, so a node that only asks who owns a name has none of them.
type room struct {
	node  *cluster.Node
	parts *inside.Parts
	store *records.Records

	validUntil atomic.Int64 // monotonic; read by Held without the lock
	validTerm  atomic.Uint64

	heard  func(node string, life uint64) bool         // Parts.Heard
	gone   func(node string, life uint64) bool         // Parts.Gone
	covers func(node string, life, period uint64) bool // Parts.Covers

	ctx    context.Context // ends when the node leaves
	cancel context.CancelFunc
	work   sync.WaitGroup
	begin  sync.Once
	wake   chan struct{} // makes keep look again

	mu       sync.Mutex
	machine  *lease.Machine
	owned    map[string]*Ownership
	claims   map[string]int // nonces of claims that are under way or effective
	leaseAt  uint64         // sequence of our lease record
	leaseErr error          // of the last renewal
	changed  chan struct{}  // closed and replaced when our lease changes
	table    table
}

type roomKey struct{}

// roomOf is the room of a node.
func roomOf(n *cluster.Node) *room {
	parts := n.Inside(inside.Key{})
	store := records.Of(parts)
	return inside.Shared(parts, roomKey{}, func() *room {
		r := &room{
			node: n, parts: parts, store: store, wake: make(chan struct{}, 1), heard: parts.Heard, gone: parts.Gone, covers: parts.Covers,
			machine: lease.New(parts.Lease, 1), owned: map[string]*Ownership{}, claims: map[string]int{},
			changed: make(chan struct{}), table: newTable(),
		}
		r.ctx, r.cancel = context.WithCancel(context.Background())
		return r
	})
}

// start runs the goroutines, once.
func (r *room) start() {
	r.begin.Do(func() {
		r.parts.OnClose(r.close)
		// goroutine: owner: room; ends when close cancels r.ctx
		r.work.Go(r.keep)
		// goroutine: owner: room; ends when close cancels r.ctx
		r.work.Go(func() { r.store.Follow(r.ctx, []string{ownPrefix + "*", leasePrefix + "*"}, follower{r}) })
		// goroutine: owner: room; ends when close cancels r.ctx
		r.work.Go(r.deaths)
	})
}

// releaseLimit bounds what a node that leaves waits for its names to be free. Others
// free them anyway when they hear its goodbye.
const releaseLimit = time.Second

// close releases every name and ends the goroutines.
func (r *room) close() {
	ctx, cancel := context.WithTimeout(context.Background(), releaseLimit)
	defer cancel()
	r.mu.Lock()
	var all []*Ownership
	for _, o := range r.owned {
		all = append(all, o)
	}
	r.mu.Unlock()
	for _, o := range all {
		_ = r.release(ctx, o) // then its lease ends, or its goodbye frees it
	}
	r.cancel()
	r.work.Wait()
}

// claimLimit bounds a claim, which takes several steps.
const claimLimit = 5 * time.Second

// claim tries once to become the owner.
func (r *room) claim(ctx context.Context, name, loop string) (*Ownership, error) {
	if r.parts.Leaving() {
		return nil, fmt.Errorf("%w: the node is leaving, and claims no names any more", cluster.ErrClosed)
	}
	r.start()
	ctx, cancel := context.WithTimeoutCause(ctx, claimLimit, fmt.Errorf("%w: no answer for %v", engine.ErrNoQuorum, claimLimit))
	defer cancel()
	term, err := r.leased(ctx)
	if err != nil {
		return nil, err
	}
	own := ownership{Version: version, Name: name, Node: r.node.Name(), Life: r.node.Incarnation(), Term: term, Loop: loop, At: time.Now().UTC(), Nonce: records.Nonce()}
	r.expectClaim(own.Nonce, 1)
	fence := r.parts.Fences()
	own.Period = r.parts.Period() // not before the fence: an older period than the owner's own would be covered by an older death
	for {
		expect, before, err := r.vacant(ctx, name)
		if err != nil {
			r.expectClaim(own.Nonce, -1)
			return nil, err
		}
		seq, err := r.write(ctx, own, expect)
		if errors.Is(err, records.ErrConflict) {
			continue // somebody was first: look who
		}
		if err == nil {
			err = r.yielded(ctx, before)
		}
		if err != nil {
			r.expectClaim(own.Nonce, -1) // the follower releases it should it become effective
			return nil, err
		}
		return r.own(own, seq, fence)
	}
}

// write writes a record of ownership. A name that has no record yet makes the store grow;
// one that changes its owner does not, and has to be able to when the store is full.
func (r *room) write(ctx context.Context, own ownership, expect uint64) (seq uint64, err error) {
	if expect == 0 {
		return r.store.Add(ctx, admit.New, ownSubject(own.Name), encode(own), expect)
	}
	return r.store.Put(ctx, ownSubject(own.Name), encode(own), expect, 0)
}

// Why a loop around vacant and write: a conflict says only that the record is not the one
// that was read. The next look finds who has the name now, or that what was written
// meanwhile is the release of the former owner.

// vacant says which sequence a claim of the name has to expect, and whose record that is
// when its owner may not know that it is over. ErrTaken when the name is not free.
func (r *room) vacant(ctx context.Context, name string) (expect uint64, before ownership, err error) {
	rec, err := r.store.Get(ctx, ownSubject(name))
	if errors.Is(err, records.ErrAbsent) {
		return 0, ownership{Free: true}, nil
	}
	if err != nil {
		return 0, ownership{}, err
	}
	o, err := readOwnership(rec)
	if err != nil {
		r.parts.Log.Warn("the record of a name cannot be read; the name counts as free", "name", name, "sequence", rec.Seq)
	}
	alive, known, err := r.alive(ctx, o)
	if err != nil {
		return 0, ownership{}, err
	}
	if alive {
		return 0, ownership{}, fmt.Errorf("%w: %s is owned by node %s since %s", ErrTaken, name, o.Node, o.At.Local().Format(time.DateTime))
	}
	if known {
		o = ownership{Free: true}
	}
	return rec.Seq, o, nil
}

// alive reports whether the owner of a record may still act as such. Four things end
// it, in the order of what they cost to find out: it was released; it is of an earlier
// life of this very node; membership knows that the owner's life is over; the lease of
// its node is gone, or of another life or term. The last one is asked of the store, not
// of the table, which may be behind.
//
// known: the owner has ended it by itself. Not so when others judge: membership may take one
// for dead that lives, and the servers remove a lease by their wall clock, so that one which
// is set forward removes all leases at once, before their owners' clocks end them.
func (r *room) alive(ctx context.Context, o ownership) (alive, known bool, err error) {
	if o.Free {
		return false, true, nil
	}
	if o.Node == r.node.Name() {
		return r.isOurs(o), true, nil
	}
	if r.isDead(o) {
		return false, false, nil
	}
	rec, err := r.store.Get(ctx, leaseSubject(o.Node))
	if errors.Is(err, records.ErrAbsent) {
		return false, false, nil
	}
	if err != nil {
		return false, false, err
	}
	l := readLease(rec)
	return l.Life == o.Life && l.Term == o.Term, l != livelihood{}, nil
}

// isOurs reports whether this node, or a later life of it, owns by that record.
func (r *room) isOurs(o ownership) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return o.Life > r.node.Incarnation() || o.Life == r.node.Incarnation() && r.claims[o.Nonce] > 0
}

// expectClaim notes a nonce as one of a claim of ours, or takes that back.
func (r *room) expectClaim(nonce string, change int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.claims[nonce] += change; r.claims[nonce] <= 0 {
		delete(r.claims, nonce)
	}
}

// own makes the ownership of a claim that is stored. The node may have been fenced meanwhile,
// and serve again: then verify has not seen this one, and nobody but the claim would confirm it.
func (r *room) own(rec ownership, seq, fence uint64) (*Ownership, error) {
	o, err := r.enter(rec, seq, fence)
	if err != nil {
		return nil, err
	}
	if now := r.parts.Fences(); now != fence {
		if r.confirm(o, now); o.over() {
			return nil, o.Err()
		}
	}
	return o, nil
}

// enter makes it one of the node's. The lease may have ended meanwhile.
func (r *room) enter(rec ownership, seq, fence uint64) (*Ownership, error) {
	o := &Ownership{room: r, term: rec.Term, as: rec, seq: seq, done: make(chan struct{}), owner: ownerOf(rec, seq)}
	o.fence.Store(fence)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.machine.Term() != rec.Term || r.ctx.Err() != nil {
		delete(r.claims, rec.Nonce)
		return nil, fmt.Errorf("%w: the node's lease ended while it claimed %s", ErrLost, rec.Name)
	}
	if old := r.owned[rec.Name]; old != nil {
		r.end(old, fmt.Errorf("%w: this node claimed it again", ErrLost))
	}
	r.owned[rec.Name] = o
	r.table.owned(rec, seq)
	return o, nil
}

// end closes an ownership. r.mu is held.
func (r *room) end(o *Ownership, why error) {
	if o.over() {
		return
	}
	o.err = why
	delete(r.claims, o.as.Nonce)
	if r.owned[o.owner.Name] == o {
		delete(r.owned, o.owner.Name)
	}
	close(o.done)
}

// release ends an ownership here, then in the store.
func (r *room) release(ctx context.Context, o *Ownership) error {
	r.mu.Lock()
	over, seq := o.over(), o.seq
	r.end(o, ErrReleased)
	r.mu.Unlock()
	if over {
		return nil
	}
	free := ownership{Version: version, Name: o.owner.Name, Free: true, At: time.Now().UTC(), Nonce: records.Nonce()}
	_, err := r.store.Put(ctx, ownSubject(o.owner.Name), encode(free), seq, keepFree)
	if errors.Is(err, records.ErrConflict) {
		return nil // somebody owns it already
	}
	return err
}

// Who stands by sleeps until the follower or membership says that something happened to
// the name or to its owner's node. The half of a TTL is for what nobody says: a follower
// that is cut off. Each look is two reads, so hundreds that stand by cost little.

// acquire claims again and again until it succeeds: each time something happens to the
// name, and each time a lease may have ended.
func (r *room) acquire(ctx context.Context, name, loop string) (*Ownership, error) {
	for {
		changed := r.table.watch(&r.mu, name)
		o, err := r.claim(ctx, name, loop)
		switch {
		case err == nil:
			return o, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case r.ctx.Err() != nil:
			return nil, fmt.Errorf("%w: the node is leaving", cluster.ErrClosed)
		case !errors.Is(err, ErrTaken) && !errors.Is(err, engine.ErrNoQuorum) && !errors.Is(err, ErrLost):
			return nil, err
		}
		soon := r.parts.Lease.TTL / 2
		if errors.Is(err, engine.ErrNoQuorum) {
			soon = r.parts.Lease.Retry // what happened to the name happened while nobody could be asked
		}
		look := time.NewTimer(soon)
		select {
		case <-changed:
		case <-look.C:
		case <-ctx.Done():
		case <-r.ctx.Done():
		}
		look.Stop()
	}
}

// resolve reads who owns a name.
func (r *room) resolve(ctx context.Context, name string) (Owner, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, claimLimit, fmt.Errorf("%w: no answer for %v", engine.ErrNoQuorum, claimLimit))
	defer cancel()
	rec, err := r.store.Get(ctx, ownSubject(name))
	if err != nil && !errors.Is(err, records.ErrAbsent) {
		return Owner{}, err
	}
	o := ownership{Free: true}
	if err == nil {
		o, _ = readOwnership(rec) // garbage is nobody's
	}
	alive, _, err := r.alive(ctx, o)
	if err != nil {
		return Owner{}, err
	}
	if !alive {
		return Owner{}, fmt.Errorf("%w: %s", ErrNotClaimed, name)
	}
	return ownerOf(o, rec.Seq), nil
}

func ownerOf(o ownership, seq uint64) Owner {
	return Owner{Name: o.Name, Node: o.Node, Life: o.Life, Loop: o.Loop, Token: o.token(seq), Since: o.At}
}

// list reads all names and all leases. A name whose owner has no lease is nobody's.
func (r *room) list(ctx context.Context) ([]Owner, error) {
	leases, err := r.store.List(ctx, leasePrefix+"*")
	if err != nil {
		return nil, err
	}
	alive := map[string]livelihood{}
	for _, rec := range leases {
		alive[rec.Subject] = readLease(rec)
	}
	names, err := r.store.List(ctx, ownPrefix+"*")
	if err != nil {
		return nil, err
	}
	var out []Owner
	for _, rec := range names {
		o, err := readOwnership(rec)
		l := alive[leaseSubject(o.Node)]
		if err == nil && !o.Free && l.Life == o.Life && l.Term == o.Term && !r.isDead(o) {
			out = append(out, ownerOf(o, rec.Seq))
		}
	}
	sortOwners(out)
	return out, nil
}
