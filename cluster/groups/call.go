package groups

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/wait"
)

var (
	// ErrNoMember: no loop of the group is there that takes the call. It did not run.
	ErrNoMember = errors.New("no member of the group takes the call")
	// ErrLeaving: the loop or node is leaving and does not begin calls any more; nothing
	// ran. It is also cluster.ErrClosed. Call tries another member.
	ErrLeaving = fault.ErrLeaving
)

// Option changes a Call.
type Option func(*options)

type options struct {
	key        string
	keyed      bool
	idempotent bool
}

// Key has all calls of one key go to one member, while the group stays the same: the one
// with the highest hash of key and member (rendezvous hashing). When a member comes or
// goes, only the keys that are, or were, its own move. Two nodes that do not know the same
// members yet may choose different ones: what must have one owner needs a name (package
// names).
func Key(key string) Option { return func(o *options) { o.key, o.keyed = key, true } }

// Idempotent says that the function may run twice: then the call goes on to another member
// also when its member ended while it may have been running.
func Idempotent() Option { return func(o *options) { o.idempotent = true } }

// patience is how long a Call waits for a member when none is there that takes it. It
// bridges the moment between the end of a member and the beginning of the next.
const patience = 2 * time.Second

// Times between two looks for a member.
const (
	lookFirst = 5 * time.Millisecond
	lookMost  = 50 * time.Millisecond
)

// Call runs f on a loop of the group and returns its result: on the one with the fewest
// calls of this node under way, or see Key. Its member runs it at most once. When nothing
// ran, because the member is gone, is leaving or refused the call, another one is tried,
// until ctx ends; when the call may have run, the caller hears it (cluster.ErrNodeDown, …)
// unless it is Idempotent. A loop of this node is called without a network.
//
// It suspends the task ctx belongs to, or blocks the goroutine; without a deadline in ctx it
// ends after Config.CallTimeout. Errors: those of Function.Call; ErrNoMember when for two
// seconds no member was there that takes it; the last refusal when every member is
// overloaded.
func Call[In, Out any](ctx context.Context, n *cluster.Node, group string, f *cluster.Function[In, Out], in In, opts ...Option) (out Out, err error) {
	if ctx == nil || n == nil || f == nil {
		return out, fault.Config("a call of group %q needs a ctx, a node and a function, not nil", group)
	}
	if err := checkText("group", group); err != nil {
		return out, err
	}
	var o options
	for _, set := range opts {
		if set != nil {
			set(&o)
		}
	}
	r := roomOf(n)
	if _, has := ctx.Deadline(); !has {
		inner, cancel := context.WithTimeout(ctx, r.parts.CallTimeout)
		defer cancel()
		ctx = inner
	}
	a := attempts{room: r, group: group, options: o, begun: time.Now(), wait: lookFirst, tried: map[string]bool{}}
	for {
		m, err := a.next(ctx)
		if err != nil {
			return out, err
		}
		out, err = callMember(ctx, &a, m, f, in)
		if err == nil || !a.again(m, f.Name(), err) {
			return out, err
		}
	}
}

// ended is the error of everything on a node that was closed; nil while it is not.
func (r *room) ended() error {
	select {
	case <-r.parts.Ended:
		return fmt.Errorf("%w: this node has been closed", cluster.ErrClosed)
	default:
		return nil
	}
}

// callMember calls f on a member, and counts the call as under way.
func callMember[In, Out any](ctx context.Context, a *attempts, m Member, f *cluster.Function[In, Out], in In) (Out, error) {
	target := m.target()
	a.room.loaded(target, 1)
	defer a.room.loaded(target, -1)
	return f.Via(a.room.node).Call(ctx, m.Ref, in)
}

func (m Member) target() string { return m.Node + "/" + m.Loop }

// loaded counts calls under way.
func (r *room) loaded(target string, change int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.load[target] += change; r.load[target] == 0 {
		delete(r.load, target)
	}
}

// How a call finds its member. Each attempt looks at the members anew, because the answer to
// the last one may be that things have changed. A member that was tried and did not begin
// the call is left out until all were tried. Then it depends on what they said: when one of
// them was there and refused, every member is overloaded, and trying again would make that
// worse, so the caller hears it. When none was there, there may be one in a moment (a
// rolling restart, a group that has just begun), and the call waits for it, for as long as
// patience.
//
// Invariant: a member is tried after another one only when the other one did not run the
// call, as NothingRan says from the code of the refusal, or when the call is idempotent.

// attempts is a Call on its way through the members.
type attempts struct {
	room  *room
	group string
	options
	begun time.Time
	wait  time.Duration
	tried map[string]bool // members, by their whole address, since the last pause
	busy  bool            // one of them was there and refused
	last  error
}

// next chooses a member that was not tried. When there is none it waits and begins again,
// unless it is known to be in vain.
func (a *attempts) next(ctx context.Context) (Member, error) {
	for {
		if err := a.room.ended(); err != nil {
			return Member{}, fmt.Errorf("group %s: %w", a.group, err)
		}
		if m, ok := a.room.choose(a.group, a.options, a.tried); ok {
			return m, nil
		}
		switch {
		case a.busy:
			return Member{}, fmt.Errorf("group %s: every member refused the call: %w", a.group, a.last)
		case time.Since(a.begun) > patience && a.last == nil:
			return Member{}, fmt.Errorf("%w: group %s has no member that this node knows of", ErrNoMember, a.group)
		case time.Since(a.begun) > patience:
			return Member{}, fmt.Errorf("%w: group %s: %w", ErrNoMember, a.group, a.last)
		}
		if err := a.pause(ctx); err != nil {
			if a.last != nil {
				return Member{}, fmt.Errorf("%w: group %s: %w: %w", ErrNoMember, a.group, a.last, err)
			}
			return Member{}, fmt.Errorf("%w: group %s: %w", ErrNoMember, a.group, err)
		}
		clear(a.tried)
	}
}

// pause waits before the members are looked at again.
func (a *attempts) pause(ctx context.Context) error {
	w, err := wait.New[struct{}](ctx)
	if err != nil {
		return err
	}
	alarm := time.AfterFunc(a.wait, func() { w.Deliver(struct{}{}) })
	defer alarm.Stop()
	a.wait = min(2*a.wait, lookMost)
	_, err = w.Wait(ctx)
	return err
}

// again notes how a member has answered and says whether another one may be tried.
func (a *attempts) again(m Member, function string, err error) bool {
	nothing := fault.NothingRan(err, m.target(), function)
	if !nothing && !(a.idempotent && mayHaveRun(err)) {
		return false
	}
	a.tried[m.Ref.Address().String()] = true
	a.last = err
	if errors.Is(err, cluster.ErrBusy) || errors.Is(err, cluster.ErrNoCredit) {
		a.busy = true
	}
	return true
}

// closed reports whether a loop of this process has ended.
func (m Member) closed() bool {
	loop, ok := m.Ref.Local()
	return ok && loop.IsClosed()
}

// mayHaveRun reports whether a call ended with its member.
func mayHaveRun(err error) bool {
	for _, kind := range []error{cluster.ErrNodeDown, cluster.ErrClosed, cluster.ErrLoopDied, cluster.ErrStopped} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// choose is the member that a call goes to; false: none that was not tried.
func (r *room) choose(group string, o options, tried map[string]bool) (best Member, ok bool) {
	var score uint64
	for _, m := range r.members(group) {
		if tried[m.Ref.Address().String()] || m.Self && m.closed() {
			continue
		}
		s := r.leisure(m.target())
		if o.keyed {
			s = rendezvous(o.key, m.target())
		}
		if !ok || s > score {
			best, score, ok = m, s, true
		}
	}
	return best, ok
}

// leisure is higher for who has fewer calls of this node under way, and random between
// equals.
func (r *room) leisure(target string) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return uint64(1<<30-min(r.load[target], 1<<30))<<32 | uint64(rand.Uint32())
}

// rendezvous is how much a key belongs to a member. Its life is not in it: a node that was
// restarted has the keys that it had.
func rendezvous(key, target string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(key))
	_, _ = h.Write([]byte{0})
	_, _ = h.Write([]byte(target))
	x := h.Sum64() // FNV's last bytes reach its low bits only: mix them
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
