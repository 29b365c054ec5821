package watching

import (
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/host"
	"github.com/loopmesh/loopmesh/cluster/internal/watch"
	"github.com/loopmesh/loopmesh/internal/wire"
	"github.com/loopmesh/loopmesh/loopnode"
)

// Watches of this node: on loops of this process, which need no message, and on
// others. Whoever watches gets exactly one end, also when there is nothing to watch:
// a reason comes in place of an error, so that the caller has one way to hear of it;
// only a closed node is an error.

// Terminated says that a watched loop has ended.
type Terminated struct {
	Who loopnode.Ref
	// Reason is, for errors.Is: ErrNodeDown, ErrLoopDied, ErrStopped, or why it
	// could not be watched: ErrUnknownNode, ErrUnknownLoop, ErrDeadIncarnation, ErrBusy.
	Reason error
}

// Add makes fn be called once, when ref's loop ends. loop is ref's loop when it is
// of this process; missing is why it cannot be watched.
func (t *Watches) Add(ref loopnode.Ref, loop *loopnode.Loop, missing error, fn func(Terminated)) (stop func(), err error) {
	if t.link.Closing() {
		return nil, closed()
	}
	tell := func(reason error) { t.notify.Add(func() { fn(Terminated{Who: ref, Reason: reason}) }) }
	switch {
	case missing != nil:
		tell(missing)
		return func() {}, nil
	case loop != nil:
		return t.addLocal(loop, tell), nil
	}
	addr := ref.Address()
	return t.Remote(addr, func(reason error) { tell(t.ofLoop(ref, reason)) }), nil
}

// addLocal watches a loop of this process. Whoever sets over ends the watch: the
// loop's close or the caller's stop, not both.
func (t *Watches) addLocal(loop *loopnode.Loop, tell func(error)) (stop func()) {
	var over atomic.Bool
	end := func() bool {
		if over.CompareAndSwap(false, true) {
			t.local.Add(-1)
			return true
		}
		return false
	}
	t.local.Add(1)
	unhook := loop.OnClose(func() {
		if end() {
			tell(host.End(loop))
		}
	})
	return func() {
		if end() {
			unhook()
		}
	}
}

// ofLoop is a reason as those who watch a loop expect it.
func (t *Watches) ofLoop(ref loopnode.Ref, reason error) error {
	target := ref.String()
	var remote *fault.RemoteError
	switch {
	case errors.Is(reason, actors.ErrUnknown) && !strings.Contains(ref.Address().Path, "/"):
		return fault.New(target, "", fault.ErrUnknownLoop, "")
	case errors.As(reason, &remote):
		return fault.At(remote, target)
	}
	return reason
}

// Remote watches what has an address on another node (actors.WatchRoute). ended is
// called once, on any goroutine, unless cancel was called before. An address without
// an incarnation means the present one from here on: the watch ends with that life,
// not with the name.
func (t *Watches) Remote(to actors.Address, ended func(reason error)) (cancel func()) {
	number, known := t.members.Number(to.Node)
	switch {
	case !wire.ValidName(to.Node) || !known && to.Incarnation == 0:
		ended(fault.New(to.String(), "", fault.ErrUnknownNode, t.members.NoMember(to.Node)))
		return func() {}
	case known && to.Incarnation != 0 && to.Incarnation < number:
		ended(fault.New(to.String(), "", fault.ErrDeadIncarnation, "a newer node has its name"))
		return func() {}
	case to.Incarnation == 0:
		to.Incarnation = number
	}
	id := t.link.NextID()
	var refused error
	t.step(func(now time.Duration) {
		t.owners[id] = func(reason error) { ended(about(to, reason)) }
		if refused = t.out.Watch(now, id, watch.Node{Name: to.Node, Incarnation: to.Incarnation}, to.Path); refused != nil {
			delete(t.owners, id)
		}
	})
	if refused != nil {
		ended(fault.New(to.String(), "", fault.ErrBusy, refused.Error()))
		return func() {}
	}
	t.members.Depends()
	t.recheck(to)
	return func() {
		t.step(func(time.Duration) {
			delete(t.owners, id)
			t.out.Unwatch(id)
		})
	}
}

// about is the reason why a watch of to ended, with what it watched and not only the
// node.
func about(to actors.Address, reason error) error {
	var remote *fault.RemoteError
	if errors.As(reason, &remote) {
		return fault.At(remote, actors.Address{Node: to.Node, Path: to.Path}.String())
	}
	return reason
}

// recheck ends a watch of a life that has ended between the look at the members and
// the entry in the table, when nobody would do it any more.
func (t *Watches) recheck(to actors.Address) {
	if number, known := t.members.Number(to.Node); known && number > to.Incarnation {
		t.step(func(time.Duration) {
			node := watch.Node{Name: to.Node, Incarnation: to.Incarnation}
			t.out.NodeDown(node, fault.New(to.String(), "", fault.ErrNodeDown, "a newer node has its name"))
		})
	}
}
