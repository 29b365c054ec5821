package names

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/records"
	"github.com/loopmesh/loopmesh/cluster/internal/wait"
	"github.com/loopmesh/loopmesh/loopnode"
)

// The errors of this package, to be tested with errors.Is. Beside them: ErrConfig,
// ErrNoJetStream, ErrNoQuorum, ErrDenied and ErrClosed of package cluster.
var (
	// ErrTaken: a node that lives owns the name.
	ErrTaken = errors.New("the name is taken")
	// ErrNotClaimed: nobody owns the name.
	ErrNotClaimed = errors.New("nobody owns the name")
	// ErrFull: the store has no room for a name that nobody has owned lately. Names that are
	// owned stay so, and can change their owners.
	ErrFull = records.ErrFull
	// ErrBadName: the text cannot be a name.
	ErrBadName = errors.New("not a name")
	// ErrLost: the ownership ended without Release: another one has the name, or this
	// node could not renew its lease. Reason of Ownership.Err.
	ErrLost = errors.New("the name was lost")
	// ErrReleased: the ownership was given back. Reason of Ownership.Err.
	ErrReleased = errors.New("the name was released")
)

// Owner says who owns a name.
type Owner struct {
	Name  string    `json:"name"`
	Node  string    `json:"node"`           // "": nobody
	Life  uint64    `json:"life,omitempty"` // the node's incarnation
	Loop  string    `json:"loop,omitempty"` // address of the loop given to Claim; "": none
	Token uint64    `json:"token"`          // higher for each later owner
	Since time.Time `json:"since"`          // by the clock of the owner's node
}

// Ownership is one period of owning a name. Claim and Acquire make one. Any goroutine.
type Ownership struct {
	room  *room
	owner Owner
	term  uint64        // of the lease under which it was claimed
	as    ownership     // its record. Guarded by room.mu
	seq   uint64        // of the record. Guarded by room.mu
	fence atomic.Uint64 // Fences of the node when it was last known to be the owner
	done  chan struct{} // closed when it is over
	err   error         // why; set before done is closed. Guarded by room.mu
}

// Claim makes this node the owner of a name, if nobody is. loop is what Resolve tells
// others, it may be the zero Ref. It waits for the store, at most five seconds, or until
// ctx ends. When it fails with ErrNoQuorum or ctx's error, a claim that became effective
// meanwhile is released by itself.
//
// Errors: ErrTaken (its text names the owner), ErrBadName, ErrFull, and those of the package.
func Claim(ctx context.Context, n *cluster.Node, name string, loop loopnode.Ref) (*Ownership, error) {
	r, err := enter(ctx, n, name)
	if err != nil {
		return nil, err
	}
	return wait.Do(ctx, func(ctx context.Context) (*Ownership, error) { return r.claim(ctx, name, address(loop)) })
}

// Acquire is Claim that waits until the name is free and then claims it: how a node
// stands by. It waits until ctx ends, also for a majority of the servers. Errors as of
// Claim but ErrTaken and ErrNoQuorum.
func Acquire(ctx context.Context, n *cluster.Node, name string, loop loopnode.Ref) (*Ownership, error) {
	r, err := enter(ctx, n, name)
	if err != nil {
		return nil, err
	}
	return wait.Do(ctx, func(ctx context.Context) (*Ownership, error) { return r.acquire(ctx, name, address(loop)) })
}

// Resolve tells who owns a name. It asks the store and waits for it, at most five
// seconds. Errors: ErrNotClaimed, ErrBadName, and those of the package.
func Resolve(ctx context.Context, n *cluster.Node, name string) (Owner, error) {
	r, err := enter(ctx, n, name)
	if err != nil {
		return Owner{}, err
	}
	return wait.Do(ctx, func(ctx context.Context) (Owner, error) { return r.resolve(ctx, name) })
}

// List tells all names that are owned now, by name. It waits as Resolve does.
func List(ctx context.Context, n *cluster.Node) ([]Owner, error) {
	r, err := enter(ctx, n, "-")
	if err != nil {
		return nil, err
	}
	return wait.Do(ctx, r.list)
}

// enter refuses bad arguments and finds the node's room.
func enter(ctx context.Context, n *cluster.Node, name string) (*room, error) {
	switch {
	case ctx == nil:
		return nil, fault.Config("names: a ctx is needed, not nil: use context.Background()")
	case n == nil:
		return nil, fault.Config("names: a node is needed, not nil: make one with cluster.Start")
	}
	if err := checkName(name); err != nil {
		return nil, err
	}
	return roomOf(n), nil
}

// address is a loop as text; "" for the zero Ref.
func address(loop loopnode.Ref) string {
	if loop == (loopnode.Ref{}) {
		return ""
	}
	return loop.Address().String()
}

// Owner says who owns it: this node.
func (o *Ownership) Owner() Owner { return o.owner }

// Token is the fencing token of this period, see the package.
func (o *Ownership) Token() uint64 { return o.owner.Token }

// Held reports whether this node may act as the owner now. It asks no server: it
// compares the node's monotonic clock with the end of its lease, and asks membership
// whether others may have given the node up. A node that stood still finds it false
// before it has done anything else. False may become true again as long as Done is open.
func (o *Ownership) Held() bool {
	r := o.room
	return !o.over() && r.leaseValid(o.term) && r.parts.Serving() && r.parts.Fences() == o.fence.Load()
}

// over reports whether Done is closed.
func (o *Ownership) over() bool {
	select {
	case <-o.done:
		return true
	default:
		return false
	}
}

// Done is closed when the ownership is over. Then Err says why.
func (o *Ownership) Done() <-chan struct{} { return o.done }

// Err is why it is over: ErrLost or ErrReleased; nil while it is not.
func (o *Ownership) Err() error {
	o.room.mu.Lock()
	defer o.room.mu.Unlock()
	return o.err
}

// Context is parent until the ownership is over; its cause is Err then.
func (o *Ownership) Context(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	// goroutine: owner: Context; ends with the ownership, or when parent or cancel ends ctx
	go func() {
		select {
		case <-o.done:
			cancel(o.Err())
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(context.Canceled) }
}

// Release gives the name back: it is over here at once, and free for others when
// Release returns nil. It waits for the store as Claim does. A name that was lost before
// is no error. Without an answer, the name is free when the node is closed or its lease
// ends.
func (o *Ownership) Release(ctx context.Context) error {
	if ctx == nil {
		return fault.Config("names: Release needs a ctx, not nil")
	}
	_, err := wait.Do(ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, o.room.release(ctx, o) })
	return err
}

// String names it for logs.
func (o *Ownership) String() string {
	return fmt.Sprintf("name %s of %s, token %d", o.owner.Name, o.owner.Node, o.owner.Token)
}
