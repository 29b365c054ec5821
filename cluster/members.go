package cluster

import (
	"context"
	"iter"
	"strconv"
	"sync/atomic"

	"github.com/loopmesh/loopmesh/cluster/events"
	"github.com/loopmesh/loopmesh/cluster/internal/watching"
	"github.com/loopmesh/loopmesh/loopnode"
)

// Members are the nodes of the cluster known to be alive, this one included,
// by name.
func (n *Node) Members() []events.Member { return n.members.List() }

// WaitMembers waits until exactly count nodes are known, this one included.
func (n *Node) WaitMembers(ctx context.Context, count int) error {
	if ctx == nil {
		return badConfig("WaitMembers needs a ctx, not nil")
	}
	return n.members.Wait(ctx, strconv.Itoa(count), func(have int) bool { return have == count }, n.stop)
}

// WaitMembersAtLeast waits until count nodes or more are known, this one included.
func (n *Node) WaitMembersAtLeast(ctx context.Context, count int) error {
	if ctx == nil {
		return badConfig("WaitMembers needs a ctx, not nil")
	}
	return n.members.Wait(ctx, "at least "+strconv.Itoa(count), func(have int) bool { return have >= count }, n.stop)
}

// Events are what happens to the membership and to this node from now on, in order, see
// package events. The first ones are an events.Joined for every other member that there
// is, so a service that handles Joined, Dead and Left knows its peers at any time:
//
//	for e := range node.Events(ctx) {
//		switch e.Kind {
//		case events.Joined:
//			peers[e.Member.Name] = e.Member
//		case events.Dead, events.Left:
//			delete(peers, e.Member.Name)
//		case events.Lagged:
//			clear(peers)
//		}
//	}
//
// It waits between two events, in a task of a loop or in a goroutine, and ends when
// ctx does or the node is closed. A reader that is more than 1024 events behind gets
// events.Lagged instead and all members anew.
func (n *Node) Events(ctx context.Context) iter.Seq[events.Event] {
	return func(yield func(events.Event) bool) {
		if ctx == nil {
			return
		}
		s := n.members.Subscribe()
		defer s.Cancel()
		for {
			list, err := s.Next(ctx)
			if err != nil || len(list) == 0 {
				return
			}
			for _, e := range list {
				if !yield(e) {
					return
				}
			}
		}
	}
}

// OnEvents calls fn on loop for each event of Events, in order, until
// stop is called or the loop or the node is closed. fn runs as a callback of the
// loop: it must not wait. After stop has returned on the loop's goroutine, fn is not
// called any more. OnEvents does not wait; any goroutine. Error: ErrConfig for
// a nil loop or fn.
func (n *Node) OnEvents(loop *loopnode.Loop, fn func(events.Event)) (stop func(), err error) {
	if loop == nil || fn == nil {
		return nil, badConfig("OnEvents needs a loop and a function, not nil")
	}
	s := n.members.Subscribe()
	var stopped atomic.Bool
	var deliver func()
	var left []events.Event                                       // taken and not told; loop goroutine
	post := func() { _ = loop.Ref().CallSoonThreadsafe(deliver) } // a closed loop hears nothing more
	deliver = func() {
		defer func() { // also when fn has ended the callback: the next one tells the rest
			if len(left) > 0 {
				post()
			} else {
				s.Notify(post)
			}
		}()
		for left = append(left, s.Take()...); len(left) > 0; {
			if stopped.Load() {
				left = nil
				return
			}
			e := left[0]
			left = left[1:]
			fn(e)
		}
	}
	unhook := loop.OnClose(s.Cancel)
	s.Notify(post)
	return func() {
		stopped.Store(true)
		unhook()
		s.Cancel()
	}, nil
}

// Terminated says that a watched loop has ended. Its fields:
//
//	Who    loopnode.Ref
//	Reason error
//
// Reason is, for errors.Is, ErrNodeDown, ErrLoopDied, ErrStopped, or why the loop could
// not be watched: ErrUnknownNode, ErrUnknownLoop, ErrDeadIncarnation, ErrBusy.
type Terminated = watching.Terminated

// Watch calls fn once, when ref's loop ends, also when its node dies, and when
// it cannot be watched because it does not exist. fn runs on a goroutine of the
// node, one after another; it should hand the notice over, not work. stop ends
// the watch: fn is not called after it has returned, unless it has begun before.
// Watch does not wait.
func (n *Node) Watch(ref loopnode.Ref, fn func(Terminated)) (stop func(), err error) {
	if fn == nil {
		return nil, badConfig("Watch needs a function, not nil")
	}
	loop, _, missing := locate(n, ref)
	return n.watches.Add(ref, loop, missing, fn)
}
