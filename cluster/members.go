package cluster

import (
	"context"
	"iter"
	"strconv"
	"sync/atomic"

	"github.com/loopmesh/loopmesh/cluster/internal/members"
	"github.com/loopmesh/loopmesh/cluster/internal/watching"
	"github.com/loopmesh/loopmesh/loopnode"
)

// Member is a node of the cluster as this node knows it. Its fields:
//
//	Name        string
//	Incarnation uint64
//	Joined      time.Time // when it became a member for this node
//	LastSeen    time.Time // when it last said something
//	Suspect     bool      // it may be gone
//	Self        bool      // it is this node
type Member = members.Member

// Members are the nodes of the cluster known to be alive, this one included,
// by name.
func (n *Node) Members() []Member { return n.members.List() }

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

// MemberEvent is one change of the membership as this node sees it. Its fields:
//
//	Kind   MemberEventKind
//	Member Member    // as it was then; of EventsLost: none
//	Why    string    // the evidence, in words
//	Time   time.Time // when this node saw it
type MemberEvent = members.Change

// MemberEventKind says what a MemberEvent is about: one of the constants below. Its
// String is a word for logs, such as "joined".
type MemberEventKind = members.ChangeKind

// The kinds of MemberEvent. A node goes from joined to suspect and back as often as
// it likes; dead or left ends it. A node that was given up and lives joins again.
const (
	NodeJoined  = members.Joined  // a node is a member now; a stream begins with those that are
	NodeSuspect = members.Suspect // it may be gone; nothing has ended yet
	NodeBack    = members.Back    // a suspect has given a sign of life
	NodeDead    = members.Dead    // it is given up; MemberEvent.Why is the evidence
	NodeLeft    = members.Left    // it ended on purpose
	EventsLost  = members.Lagged  // the reader was too slow: forget all members, they are told again as joined
	NodeFenced  = members.Fenced  // this node serves nobody until it reaches the cluster again
	NodeServing = members.Serving // this node serves again
	NodeLost    = members.Lost    // a newer node has this node's name: this node ends
)

// MemberEvents are the changes of the membership from now on, in order. The first
// ones are a NodeJoined for every other member that there is, so a service that
// handles NodeJoined, NodeDead and NodeLeft knows its peers at any time:
//
//	for e := range node.MemberEvents(ctx) {
//		switch e.Kind {
//		case cluster.NodeJoined:
//			peers[e.Member.Name] = e.Member
//		case cluster.NodeDead, cluster.NodeLeft:
//			delete(peers, e.Member.Name)
//		case cluster.EventsLost:
//			clear(peers)
//		}
//	}
//
// It waits between two events, in a task of a loop or in a goroutine, and ends when
// ctx does or the node is closed. A reader that is more than 1024 events behind gets
// EventsLost instead and all members anew.
func (n *Node) MemberEvents(ctx context.Context) iter.Seq[MemberEvent] {
	return func(yield func(MemberEvent) bool) {
		if ctx == nil {
			return
		}
		s := n.members.Subscribe()
		defer s.Cancel()
		for {
			events, err := s.Next(ctx)
			if err != nil || len(events) == 0 {
				return
			}
			for _, e := range events {
				if !yield(e) {
					return
				}
			}
		}
	}
}

// OnMemberEvents calls fn on loop for each event of MemberEvents, in order, until
// stop is called or the loop or the node is closed. fn runs as a callback of the
// loop: it must not wait. After stop has returned on the loop's goroutine, fn is not
// called any more. OnMemberEvents does not wait; any goroutine. Error: ErrConfig for
// a nil loop or fn.
func (n *Node) OnMemberEvents(loop *loopnode.Loop, fn func(MemberEvent)) (stop func(), err error) {
	if loop == nil || fn == nil {
		return nil, badConfig("OnMemberEvents needs a loop and a function, not nil")
	}
	s := n.members.Subscribe()
	var stopped atomic.Bool
	var deliver func()
	post := func() { _ = loop.Ref().CallSoonThreadsafe(deliver) } // a closed loop hears nothing more
	deliver = func() {
		for _, e := range s.Take() {
			if stopped.Load() {
				return
			}
			fn(e)
		}
		s.Notify(post)
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
