package groups

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/link"
	"github.com/loopmesh/loopmesh/cluster/internal/roster"
	"github.com/loopmesh/loopmesh/loopnode"
)

// Membership is a loop's place in a group. Any goroutine.
type Membership struct{ leave func() }

// Leave takes the loop out of the group. The others know within milliseconds; calls that
// are on their way still run. Leaving twice is harmless.
func (m *Membership) Leave() { m.leave() }

// hosted is a loop that is in groups.
type hosted struct {
	unhook func()
	in     map[roster.Entry]int // how often; guarded by room.mu
}

// Join puts a loop of node n into a group, until Leave or the end of the loop or the node.
// It does not wait; other nodes know within milliseconds, and at the latest within two
// seconds. The loop has to be addressable (Node.NewLoop, Node.Host). A name is of 1 to 255
// bytes. Errors: ErrConfig, ErrClosed.
func Join(n *cluster.Node, group string, loop loopnode.Ref) (*Membership, error) {
	if n == nil {
		return nil, fault.Config("group %q: needs a node, not nil", group)
	}
	if err := checkText("group", group); err != nil {
		return nil, err
	}
	local, ok := loop.Local()
	if !ok {
		return nil, fault.Config("group %q: the loop %s is not of this process: its own node joins", group, loop)
	}
	ref, ok := n.Loop(local.Name())
	if have, _ := ref.Local(); !ok || have != local {
		return nil, fault.Config("group %q: the loop %s is no loop of node %s: make it with NewLoop, or Host it", group, local.Name(), n.Name())
	}
	r := roomOf(n)
	e := roster.Entry{Group: group, Name: memberName(ref.Address())}
	if err := checkText("loop", e.Name); err != nil {
		return nil, err
	}
	if err := r.join(local, e); err != nil {
		return nil, err
	}
	return &Membership{leave: sync.OnceFunc(func() { r.leaveLoop(local, e) })}, nil
}

// memberName is a loop in a set: its name and its number on its node.
func memberName(a actors.Address) string { return a.Path + "#" + strconv.FormatUint(a.Loop, 10) }

// readMember reads memberName.
func readMember(name string) (loop string, number uint64, ok bool) {
	at := strings.LastIndexByte(name, '#')
	if at < 0 {
		return "", 0, false
	}
	number, err := strconv.ParseUint(name[at+1:], 10, 64)
	return name[:at], number, err == nil
}

// join notes that a loop is in a group. The hook of a loop takes the lock, and runs at
// once when the loop is closed: so it is registered without the lock. A loop that closes
// later is marked as closed before its hooks run, so either this refuses it or the hook
// finds it.
func (r *room) join(loop *loopnode.Loop, e roster.Entry) error {
	unhook := loop.OnClose(func() { r.loopClosed(loop) })
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := loop.CloseReason(); err != nil {
		return fmt.Errorf("%w: %w", fault.ErrClosed, err)
	}
	err := r.enter(e)
	if err == nil && r.withdrawn {
		r.own.Remove(e)
		err = fmt.Errorf("%w: the node is leaving", fault.ErrClosed)
	}
	if err != nil {
		unhook()
		return err
	}
	h := r.loops[loop]
	if h == nil {
		h = &hosted{unhook: unhook, in: map[roster.Entry]int{}}
		r.loops[loop] = h
	} else {
		unhook() // it has one
	}
	h.in[e]++
	return nil
}

// leaveLoop takes a loop out of a group once.
func (r *room) leaveLoop(loop *loopnode.Loop, e roster.Entry) {
	r.mu.Lock()
	h := r.loops[loop]
	in := h != nil && h.in[e] > 0
	if in {
		if h.in[e]--; h.in[e] == 0 {
			delete(h.in, e)
		}
	}
	r.mu.Unlock()
	if in {
		r.leave(e)
	}
}

// loopClosed takes a loop out of all its groups.
func (r *room) loopClosed(loop *loopnode.Loop) {
	r.mu.Lock()
	h := r.loops[loop]
	delete(r.loops, loop)
	r.mu.Unlock()
	if h == nil {
		return
	}
	for e, times := range h.in {
		for range times {
			r.leave(e)
		}
	}
}

// Member is a loop in a group.
type Member struct {
	Node string
	Loop string
	Ref  loopnode.Ref
	Self bool // it is a loop of this node
}

// Members are the loops in a group as node n knows them, by node and loop. It does not
// wait: a loop that joined or left elsewhere is known within milliseconds, and at the
// latest within two seconds; the loops of a node are gone at once when the membership of
// the cluster knows that the node is. The first use of this package on a node begins to
// listen: until two seconds later some may be missing.
func Members(n *cluster.Node, group string) []Member {
	if n == nil {
		return nil
	}
	return roomOf(n).members(group)
}

func (r *room) members(group string) (out []Member) {
	add := func(node string, life uint64, name string) {
		loop, number, ok := readMember(name)
		if !ok {
			return // the work of a faulty program
		}
		ref, err := r.node.RefTo(actors.Address{Node: node, Incarnation: life, Loop: number, Path: loop})
		if err == nil {
			out = append(out, Member{Node: node, Loop: loop, Ref: ref, Self: node == r.node.Name()})
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	for _, h := range r.loops {
		for e := range h.in {
			if e.Group == group {
				add(r.node.Name(), r.node.Incarnation(), e.Name)
			}
		}
	}
	for peer, c := range r.copies {
		if !r.alive[peer] {
			continue
		}
		for _, name := range c.Group(group) {
			add(peer.Name, peer.Number, name)
		}
	}
	slices.SortFunc(out, func(a, b Member) int {
		return cmp.Or(strings.Compare(a.Node, b.Node), strings.Compare(a.Loop, b.Loop))
	})
	return out
}

// Presence says that a node holds a key. Any goroutine.
type Presence struct{ release func() }

// Release takes it back. Releasing twice is harmless.
func (p *Presence) Release() { p.release() }

// Hold tells all nodes that node n holds a key: a connection, a user who is here, a room.
// Several may hold a key on one node; it is held until the last one has released it, or
// the node ends. Several nodes may hold one key, for a while or for good. It does not wait.
// A node holds up to a million keys and groups; each costs every node that uses this
// package some hundred bytes. A key is of 1 to 255 bytes. Errors: ErrConfig, ErrClosed.
func Hold(n *cluster.Node, key string) (*Presence, error) {
	if n == nil {
		return nil, fault.Config("key %q: needs a node, not nil", key)
	}
	if err := checkText("key", key); err != nil {
		return nil, err
	}
	r, e := roomOf(n), roster.Entry{Name: key}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.enter(e); err != nil {
		return nil, err
	}
	return &Presence{release: sync.OnceFunc(func() { r.leave(e) })}, nil
}

// Where is the node that holds a key, as node n knows it; false: none. Of several it is the
// one that node n heard of last; n's own Hold counts before all others. It does not wait:
// the answer is right as Members is.
func Where(n *cluster.Node, key string) (node string, ok bool) {
	if n == nil {
		return "", false
	}
	r, e := roomOf(n), roster.Entry{Name: key}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed && r.own.Has(e) {
		return r.node.Name(), true
	}
	var latest link.Peer
	var number uint64
	for peer, c := range r.copies {
		if at, has := c.Entries[e]; has && r.alive[peer] && at >= number {
			latest, number, ok = peer, at, true
		}
	}
	return latest.Name, ok
}
