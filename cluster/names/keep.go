package names

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/records"
)

// How the lease is kept. keep drives the pure machine of package lease: it alone sends
// renewals, one at a time, on a goroutine of their own, so that a store that does not
// answer cannot delay the end of the lease. Held does not depend on keep at all: it
// compares the time itself.

// origin is where this process's monotonic times begin.
var origin = time.Now()

func mono() time.Duration { return time.Since(origin) }

// leaseValid reports whether the lease of that term holds now.
func (r *room) leaseValid(term uint64) bool {
	return r.validTerm.Load() == term && int64(mono()) < r.validUntil.Load()
}

// publish makes what the machine says readable without the lock. mu is held.
func (r *room) publish() {
	r.validUntil.Store(0) // not the new end with the old term, even for a moment
	r.validTerm.Store(r.machine.Term())
	r.validUntil.Store(int64(r.machine.Until()))
	close(r.changed)
	r.changed = make(chan struct{})
}

// leased waits until the node has a lease and returns its term.
func (r *room) leased(ctx context.Context) (uint64, error) {
	for {
		r.mu.Lock()
		r.machine.Want(mono())
		held, term, changed := r.machine.Held(mono()), r.machine.Term(), r.changed
		err := r.leaseErr
		r.mu.Unlock()
		if held {
			return term, nil
		}
		if err != nil && !errors.Is(err, cluster.ErrNoQuorum) {
			return 0, err
		}
		r.nudge()
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, fmt.Errorf("the node has no lease: %w", context.Cause(ctx))
		case <-r.ctx.Done():
			return 0, fmt.Errorf("%w: the node is leaving", cluster.ErrClosed)
		}
	}
}

// nudge makes keep look at the machine.
func (r *room) nudge() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// keep renews the lease until the node leaves.
func (r *room) keep() {
	for r.ctx.Err() == nil {
		now := mono()
		r.mu.Lock()
		lost, renew := r.machine.Tick(now)
		if lost {
			r.loseAll("its lease could not be renewed in time")
		}
		term, expect := r.machine.Term(), r.leaseAt
		at, any := r.machine.Wake()
		r.mu.Unlock()
		if renew {
			// goroutine: owner: room; ends when the store has answered, at most five seconds later
			r.work.Go(func() { r.renew(now, term, expect) })
		}
		if !any {
			at = now + time.Hour
		}
		timer := time.NewTimer(max(at-mono(), 0))
		select {
		case <-timer.C:
		case <-r.wake:
		case <-r.ctx.Done():
		}
		timer.Stop()
	}
}

// loseAll ends every ownership. mu is held.
func (r *room) loseAll(why string) {
	for _, o := range r.owned {
		r.end(o, fmt.Errorf("%w: %s", ErrLost, why))
	}
	r.parts.Log.Warn("this node has lost its names", "why", why)
	r.publish()
}

// A lease is written against the sequence of the one before. A conflict means that the
// answer to an earlier renewal was lost, that the store removed the lease and left a
// marker, that it is the one of an earlier life, or that a later life of this node has
// begun. Only the last one is a reason to stop.

// renew writes the lease once. sent is when it began to: the lease counts from there.
func (r *room) renew(sent time.Duration, term, expect uint64) {
	body := encode(livelihood{Version: version, Life: r.node.Incarnation(), Term: term, Nonce: records.Nonce()})
	seq, err := r.store.Put(r.ctx, leaseSubject(r.node.Name()), body, expect, r.parts.Lease.TTL)
	later := false
	if errors.Is(err, records.ErrConflict) {
		expect, later, err = r.leaseNow()
		if err == nil && !later {
			seq, err = r.store.Put(r.ctx, leaseSubject(r.node.Name()), body, expect, r.parts.Lease.TTL)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now, lost := mono(), false
	switch {
	case later:
		lost = r.machine.Taken(now)
		r.leaseErr = fmt.Errorf("%w: a later life of this node has its lease", cluster.ErrNameTaken)
	case err != nil:
		r.machine.Failed(now)
		r.leaseErr = err
	default:
		lost = r.machine.Stored(sent, now)
		r.leaseAt, r.leaseErr = seq, nil
	}
	if lost {
		r.loseAll("its lease could not be renewed in time")
	}
	r.publish()
	r.nudge()
}

// leaseNow reads the record that is there instead of the expected one: our own, whose
// answer was lost, one of an earlier life, or the marker that ours has expired; later:
// it is of a later life.
func (r *room) leaseNow() (seq uint64, later bool, err error) {
	rec, err := r.store.Get(r.ctx, leaseSubject(r.node.Name()))
	if errors.Is(err, records.ErrAbsent) {
		return 0, false, nil
	}
	return rec.Seq, err == nil && readLease(rec).Life > r.node.Incarnation(), err
}

// What others may have done while membership took this node for dead is free its names
// (isDead). When it serves again, it cannot know without asking. Until verify has asked,
// Held is false, because the node's count of fences differs from the one at which the
// ownership was verified; and the count changes before the node serves again, so there is
// no moment in which Held is true and nobody has asked.

// verify finds out, after others may have given this node up, which of its names are still
// its own. Until it has, Held is false for each of them.
//
// Why it writes instead of reading: the server that leads answers reads by itself, and one
// that was cut off leads for ten seconds in its own eyes. A node that comes back with its
// server would read there that everything is as it was, while others own its names. A write
// against the sequence of the own record is decided by a majority: it comes before the
// claim of another node, which then has to look again, or it is refused.
func (r *room) verify() {
	fence := r.parts.Fences()
	r.mu.Lock()
	var all []*Ownership
	for _, o := range r.owned {
		if o.fence.Load() != fence {
			all = append(all, o)
		}
	}
	r.mu.Unlock()
	var work sync.WaitGroup
	for part := range slices.Chunk(all, 1+len(all)/atOnce) {
		// goroutine: owner: verify; ends when the store has answered for its part
		work.Go(func() {
			for _, o := range part {
				r.confirm(o, fence)
			}
		})
	}
	work.Wait()
}

// atOnce is how many names a node confirms at the same time.
const atOnce = 16

// confirm writes the record of an ownership once more, or ends the ownership.
func (r *room) confirm(o *Ownership, fence uint64) {
	r.mu.Lock()
	as, seq, over := o.as, o.seq, o.over()
	r.mu.Unlock()
	if over {
		return
	}
	as.Token, as.Looks, as.Period = o.owner.Token, as.Looks+1, r.parts.Period()
	seq, err := r.store.Put(r.ctx, ownSubject(as.Name), encode(as), seq, 0)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err == nil:
		o.as, o.seq = as, seq
		o.fence.Store(fence)
	case errors.Is(err, records.ErrConflict):
		r.end(o, fmt.Errorf("%w: others took this node for dead, and somebody else owns it", ErrLost))
	default:
		r.end(o, fmt.Errorf("%w: others took this node for dead, and who owns it cannot be found out: %w", ErrLost, err))
	}
}
