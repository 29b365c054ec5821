package process

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/events"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
	"github.com/loopmesh/loopmesh/cluster/internal/link"
	"github.com/loopmesh/loopmesh/internal/wire"
	"github.com/loopmesh/loopmesh/loopnode"
)

// host is a node's side that has the children. Everything of a child happens on one loop,
// so there is no lock but that of the table of profiles, which Offer fills from anywhere.
//
// Invariant: running is the number of children that are started or run, p.running those of
// one profile; a child is counted from admit to its exit, or to the failure of its start.
type host struct {
	node  *cluster.Node
	parts *inside.Parts
	log   hclog.Logger

	mu       sync.Mutex
	profiles map[string]*profile
	counts   map[string]*int // profile.running by name, of those that were taken back, too
	loop     *loopnode.Loop  // nil until Offer

	children map[uint64]*child // those that have ended and are kept, too. Owned by the loop
	next     uint64            // owned by the loop

	lease                   atomic.Int64 // leaseTime, in nanoseconds; tests make it shorter
	leaving                 atomic.Bool  // nothing is started any more
	running                 atomic.Int64 // children
	asking                  atomic.Int64 // wait operations under way
	open                    atomic.Int64 // streams of outputs that have not ended
	groups                  atomic.Int64 // control groups whose folders are there
	started, refused, ended atomic.Uint64
}

func newHost(n *cluster.Node, parts *inside.Parts) *host {
	h := &host{node: n, parts: parts, log: parts.Log.Named("process"), profiles: map[string]*profile{}, counts: map[string]*int{}, children: map[uint64]*child{}}
	h.lease.Store(int64(leaseTime))
	return h
}

// Offer lets other nodes start the commands of these profiles on n, those that have the
// right spawn:NAME; the program of n itself needs none. A node to which nothing was offered
// starts nothing. It may be called again for more; call it in Config.Prepare when no caller
// may meet a node without its profiles. It does not wait. Any goroutine. Errors:
// cluster.ErrConfig with what is wrong with a profile, and then none of them is offered;
// cluster.ErrClosed, and cluster.ErrNameTaken when the node has a loop named LoopName
// already.
func Offer(n *cluster.Node, profiles ...Profile) error {
	if n == nil {
		return fault.Config("Offer needs a node, not nil")
	}
	checked, err := checkAll(profiles)
	if err != nil {
		return err
	}
	h := hostOf(n)
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range checked {
		if h.profiles[p.Name] != nil {
			return offeredTwice(p.Name)
		}
	}
	if err := h.openLocked(); err != nil {
		return err
	}
	h.putLocked(checked)
	return nil
}

// Replace offers exactly these profiles, in the place of all that n offers. What runs goes on
// by the profile that it was started by, in the hands of its owner, and counts for the one of
// the same name. It does not wait. Any goroutine. Errors: as of Offer, and then nothing has
// changed.
func Replace(n *cluster.Node, profiles ...Profile) error {
	if n == nil {
		return fault.Config("Replace needs a node, not nil")
	}
	checked, err := checkAll(profiles)
	if err != nil {
		return err
	}
	h := hostOf(n)
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(checked) > 0 { // a node that starts nothing needs no loop for it
		if err := h.openLocked(); err != nil {
			return err
		}
	}
	clear(h.profiles)
	h.putLocked(checked)
	return nil
}

// checkAll checks profiles whose names have to differ.
func checkAll(profiles []Profile) (checked []*profile, err error) {
	fresh := map[string]bool{}
	for _, p := range profiles {
		c, err := p.check()
		if err != nil {
			return nil, err
		}
		if fresh[p.Name] {
			return nil, offeredTwice(p.Name)
		}
		fresh[p.Name] = true
		checked = append(checked, c)
	}
	return checked, nil
}

func offeredTwice(name string) error {
	return fault.Config("profile %q is offered twice: choose another name", name)
}

// putLocked offers what was checked.
func (h *host) putLocked(checked []*profile) {
	for _, p := range checked {
		register(p.Name)
		if h.counts[p.Name] == nil {
			h.counts[p.Name] = new(int)
		}
		p.running = h.counts[p.Name]
		h.profiles[p.Name] = p
	}
}

// Check says whether Offer would take a profile, without a node.
func Check(p Profile) error {
	_, err := p.check()
	return err
}

// openLocked makes the loop of the children, once.
func (h *host) openLocked() error {
	if h.loop != nil {
		return nil
	}
	ref, err := h.node.NewLoop(LoopName)
	if err != nil {
		return err
	}
	loop, _ := ref.Local()
	if _, err := h.node.OnEvents(loop, h.member); err != nil { // ends with the loop
		return err
	}
	h.loop = loop
	h.parts.OnLeave(func() { h.leaving.Store(true) })
	h.parts.OnDrain(h.close)
	h.parts.OnFinish(inside.Finisher{Finish: h.finish, Left: h.left})
	return nil
}

// find is the profile of that name, nil when it is not offered.
func (h *host) find(name string) (*host, *profile) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h, h.profiles[name]
}

// How a host knows that an owner is gone. Membership says so of a life of a node, once, on
// evidence (package membership); from then on no frame of that life is trusted, and its
// streams are over on both sides. An owner is a member when it starts something (acquaint),
// so its end is always told. What membership cannot see, a program that has forgotten its
// process, the lease of the child finds (child.go).
//
// member hears who comes and goes. Loop goroutine.
func (h *host) member(e events.Event) {
	switch e.Kind {
	case events.Dead, events.Left:
		gone := link.Peer{Name: e.Member.Name, Number: e.Member.Incarnation}
		h.orphans(func(owner link.Peer) bool { return owner == gone }, e.Why)
	case events.Lagged: // who is no member now may have died in the gap
		alive := h.alive()
		h.orphans(func(owner link.Peer) bool { return !alive[owner] }, "it is no member any more")
	}
}

// orphans ends or keeps the children whose owners match.
func (h *host) orphans(gone func(owner link.Peer) bool, why string) {
	for _, c := range h.children {
		if c.owner != (link.Peer{}) && gone(c.owner) {
			c.orphan(fmt.Sprintf("node %s, which had it, is gone: %s", c.owner.Name, why))
		}
	}
}

// alive are the members by life, this node included.
func (h *host) alive() map[link.Peer]bool {
	out := map[link.Peer]bool{}
	for _, m := range h.node.Members() {
		out[link.Peer{Name: m.Name, Number: m.Incarnation}] = true
	}
	return out
}

// acquaint waits until the owner is a member here, too: of one that never was, nobody would
// tell that it is gone. A node that has just joined may ask before this one has heard of it.
func (h *host) acquaint(ctx context.Context, owner link.Peer) error {
	for end := time.Now().Add(acquaintance); !h.alive()[owner]; {
		if time.Now().After(end) {
			return fmt.Errorf("%w: node %s is no member of the cluster for node %s", fault.ErrRefused, owner.Name, h.node.Name())
		}
		if err := loopnode.Sleep(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// acquaintance is how long a node may take to hear of another one that has joined.
const acquaintance = 2 * time.Second

// admit counts a child that is about to start, or says why it may not.
func (h *host) admit(p *profile, owner link.Peer) (*child, error) {
	switch {
	case h.leaving.Load():
		return nil, fault.Codef(wire.Leaving, "node %s is leaving; nothing was started", h.node.Name())
	case *p.running >= p.Children:
		return nil, fmt.Errorf("%w: %d children of profile %s run already, the most is %d", ErrTooMany, *p.running, p.Name, p.Children)
	case h.running.Load() >= maxChildren:
		return nil, fmt.Errorf("%w: %d children run on node %s already, the most is %d", ErrTooMany, h.running.Load(), h.node.Name(), maxChildren)
	}
	h.next++
	c := &child{host: h, id: h.next, profile: p, owner: owner, began: time.Now(), counted: true}
	h.children[c.id] = c
	*p.running++
	h.running.Add(1)
	return c, nil
}

// start starts a command for owner.
func (h *host) start(ctx context.Context, p *profile, owner link.Peer, q request) (out answer, err error) {
	defer func() {
		if err != nil {
			h.refused.Add(1)
			h.log.Warn("a process was not started", "profile", p.Name, "for", owner.Name, "error", err)
		}
	}()
	argv, err := p.argv(q.Args, q.Words)
	if err != nil {
		return answer{}, err
	}
	env, err := p.environment(q.Env)
	if err != nil {
		return answer{}, err
	}
	if err := h.acquaint(ctx, owner); err != nil {
		return answer{}, err
	}
	c, err := h.admit(p, owner)
	if err != nil {
		return answer{}, err
	}
	c.key = q.Key
	if err := c.launch(ctx, q, argv, env); err != nil {
		c.failed = true
		c.release()
		delete(h.children, c.id)
		return answer{}, err
	}
	h.started.Add(1)
	h.log.Info("a process was started", "process", c.name(), "pid", c.pid, "for", owner.Name, "argv", argv)
	return answer{ID: c.id, PID: c.pid, Life: h.node.Incarnation(), Stdin: c.stdin}, nil
}

// How the node leaves. A drain has it start nothing more (OnLeave) and waits for the children
// to end by themselves (finish), for as long as it likes; Close of the node ends those that are left,
// while its connections still work, so that each owner hears how its process ended.

// finish waits until no child runs, or ctx ends. Any goroutine.
func (h *host) finish(ctx context.Context) {
	h.until(ctx, func() bool { return h.running.Load() == 0 })
}

// left says for people what runs. Any goroutine.
func (h *host) left() string {
	if n := h.running.Load(); n > 0 {
		return fmt.Sprintf("%d processes", n)
	}
	return ""
}

// Times of close. They are short whatever a profile's Grace is: a node that is closed has
// seconds. Who wants to wait longer drains it.
const (
	leaveGrace  = 3 * time.Second // from SIGTERM to SIGKILL
	leaveReap   = time.Second     // from SIGKILL to the exit
	leaveAnswer = time.Second     // until the owners have their answers and the last of the output
)

// close ends all children. It blocks for some seconds at most. Any goroutine but the
// loop's.
func (h *host) close() {
	h.leaving.Store(true)
	none := func() bool { return h.running.Load() == 0 }
	if h.tell(func(c *child) { c.end("node " + h.node.Name() + " leaves the cluster") }); !h.within(leaveGrace, none) {
		h.tell(func(c *child) { c.kill() })
		if !h.within(leaveReap, none) {
			h.log.Warn("killed processes do not end; they are left to the system", "left", h.left())
		}
	}
	h.within(leaveReap, func() bool { return h.groups.Load() == 0 })
	h.within(leaveAnswer, func() bool { return h.asking.Load() == 0 && h.open.Load() == 0 })
}

// tell calls fn for each child that runs, on the loop. It does not wait.
func (h *host) tell(fn func(*child)) {
	_ = h.loop.Ref().CallSoonThreadsafe(func() { // a closed loop has killed them
		for _, c := range h.children {
			if c.exit == nil {
				fn(c)
			}
		}
	})
}

// within waits until ok, at most limit.
func (h *host) within(limit time.Duration, ok func() bool) bool {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return h.until(ctx, ok)
}

func (h *host) until(ctx context.Context, ok func() bool) bool {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ok()
		}
	}
	return true
}

// Stats are the numbers of a node's children.
type Stats struct {
	Running int    // children that start or run
	Started uint64 // since the node began
	Refused uint64 // starts that failed: arguments, limits, a program that is missing
	Ended   uint64 // children that the node ended: their owner was gone or closed them, their time was over, the node left
}

// Counted are the numbers of n's children. Any goroutine.
func Counted(n *cluster.Node) Stats {
	h := hostOf(n)
	return Stats{Running: int(h.running.Load()), Started: h.started.Load(), Refused: h.refused.Load(), Ended: h.ended.Load()}
}
