package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	nodeevents "github.com/loopmesh/loopmesh/cluster/events"
)

// The lists: what a survey found, as documents. Invariant: who did not answer is
// named in Partial and never just left out, so that a list without Partial is
// complete. Items are in the order of the members, whatever order the answers came
// in.

// newList makes an empty list. Items is [] and never null in JSON: readers loop over
// it without a check.
func newList[T any](kind string) *List[T] {
	return &List[T]{Kind: kind, APIVersion: APIVersion, Time: time.Now().UTC(), Items: []T{}}
}

// missing notes that id did not answer, in words that agree with the list beside it. A
// node without the loop "admin" is a program that uses the library and does not open
// this API: the error "unknown loop" would be true and of no help. And a member is not
// unknown: one that nobody answers for is gone, or cut off, and not given up yet.
func (l *List[T]) missing(id string, err error) {
	e := *asError(err)
	switch {
	case errors.Is(err, cluster.ErrUnknownLoop) && !strings.Contains(id, "/"):
		e = Error{Kind: NotFound, Message: "its program does not open the admin API", Hint: "call admin.Open there, or start it with this program"}
	case errors.Is(err, cluster.ErrUnknownNode):
		e = Error{Kind: Unreachable, Message: "nobody listens under its name: its process has ended, or it lost NATS; it is given up soon unless it comes back", Hint: "ask again"}
	}
	l.Partial = append(l.Partial, Missing{id, e})
}

// incarnation writes the number as in addresses, and as a text: JSON readers that keep
// numbers as float64 would round it.
func incarnation(number uint64) string { return strconv.FormatUint(number, 10) }

// nodes lists the members of the cluster. A member that did not answer is in the
// list, too, with what this node knows of it: its name, its incarnation, and when it
// was last heard of. A loop that did not answer is missing in the node's sums, and
// Partial names it.
func (s *Server) nodes(ctx context.Context) *List[Node] {
	list := newList[Node]("NodeList")
	for _, v := range s.survey(ctx, &loopQuestion{}) {
		if v.err != nil {
			list.missing(v.Name, v.err)
		}
		n := v.node()
		for _, l := range v.loops {
			if l.err != nil {
				list.missing(v.Name+"/"+l.name, l.err)
			}
			n.Tasks += l.Tasks
			n.Conns += l.Conns
			n.Servers += len(l.Servers)
		}
		list.Items = append(list.Items, n)
	}
	return list
}

// A member that died is in no survey: there is nobody to ask. What this node saw of it
// stays in the list, since "which one is missing?" is the question after a crash, and a
// list that is merely shorter does not answer it. Each node remembers what it has seen
// itself; one that was started later does not know of earlier deaths.
//
// withFormer adds the members that are gone: dead ones, and with left those that ended on
// purpose, too.
func (s *Server) withFormer(list *List[Node], left bool) *List[Node] {
	var views []nodeView
	for _, n := range list.Items {
		views = append(views, nodeView{Member: nodeevents.Member{Name: n.ID}})
	}
	for _, c := range s.former.list(time.Now(), views) {
		n := Node{ID: c.Member.Name, Incarnation: incarnation(c.Member.Incarnation), State: Dead, LastSeen: c.Member.LastSeen.UTC(), Ended: c.Time.UTC(), Why: c.Why}
		if c.Kind == nodeevents.Left {
			n.State = Left
		}
		if left || n.State == Dead {
			list.Items = append(list.Items, n)
		}
	}
	slices.SortStableFunc(list.Items, func(a, b Node) int { return strings.Compare(a.ID, b.ID) })
	return list
}

// node puts together what this node knows of a member (name, state, last seen) and
// what the member told. Suspect counts more than silent: membership has doubted it
// before this question did.
func (v *nodeView) node() Node {
	n := Node{
		ID: v.Name, Incarnation: incarnation(v.Incarnation), State: Ready, Self: v.Self, LastSeen: v.LastSeen.UTC(),
		Host: v.Host, PID: v.PID, Started: v.Started.UTC(), Version: v.Version, Go: v.Go, URL: v.URL, Loops: len(v.loops),
		Served: v.Stats.Served, Calls: v.Stats.Calls, CallsFailed: v.Stats.CallsFailed, Draining: v.Draining,
	}
	switch {
	case v.Suspect:
		n.State = Suspect
	case v.err != nil:
		n.State = Silent
	}
	return n
}

// loops lists the loops that answered; the others are in Partial. AnsweredUS is
// measured by this node, the way there and back included.
func (s *Server) loops(ctx context.Context, measureMS int) *List[Loop] {
	list := newList[Loop]("LoopList")
	for _, v := range s.survey(ctx, &loopQuestion{MeasureMS: measureMS}) {
		if v.err != nil {
			list.missing(v.Name, v.err)
		}
		for _, l := range v.loops {
			id := v.Name + "/" + l.name
			if l.err != nil {
				list.missing(id, l.err)
				if b, ok := v.Blocked[l.name]; ok {
					list.Items = append(list.Items, Loop{
						ID: id, Node: v.Name, Name: l.name, State: Blocked, Servers: []string{}, Frame: b.Frame, BlockedMS: time.Since(b.Since).Milliseconds(),
					})
				}
				continue
			}
			list.Items = append(list.Items, Loop{
				ID: id, Node: v.Name, Name: l.name, Tasks: l.Tasks, Conns: l.Conns, Servers: l.Servers,
				AnsweredUS: max(l.took.Microseconds()-l.measured(), 0), State: Running, Queue: l.Queue, Timers: l.Timers, Watched: l.Watched,
				Children: l.Children, Paused: l.Paused, Unsent: l.Unsent, Measured: l.Measured,
			})
		}
	}
	return list
}

// conns lists the connections on the loops of all nodes. A loop tells of maxListed
// connections at most; how many more it has is a line of Partial.
func (s *Server) conns(ctx context.Context) *List[Conn] {
	list := newList[Conn]("ConnList")
	for _, v := range s.survey(ctx, &loopQuestion{Conns: true}) {
		if v.err != nil {
			list.missing(v.Name, v.err)
		}
		for _, l := range v.loops {
			id := v.Name + "/" + l.name
			if l.err != nil {
				list.missing(id, l.err)
			}
			if more := l.Conns - len(l.Listed); more > 0 {
				list.missing(id, &Error{Kind: Refused, Message: fmt.Sprintf("%d more connections, a loop lists %d", more, maxListed), Hint: "close some, or ask the program"})
			}
			list.Items = append(list.Items, l.Listed...)
		}
	}
	return list
}

// measured is how much of the time of an answer was the measuring.
func (l *loopView) measured() int64 {
	if l.Measured == nil {
		return 0
	}
	return l.Measured.ForUS
}

// onLoops lists what every loop tells of one kind of thing, picked from its report. pick
// gives the items and how many there are in all: a loop that has more than it tells is
// named in Partial with the difference, so that a list which was cut is not taken for a
// whole one. Items of one loop keep the order in which it told them.
func onLoops[T any](ctx context.Context, s *Server, kind string, q loopQuestion, pick func(*loopReport) (items []T, all int)) *List[T] {
	list := newList[T](kind)
	for _, v := range s.survey(ctx, &q) {
		if v.err != nil {
			list.missing(v.Name, v.err)
		}
		for _, l := range v.loops {
			id := v.Name + "/" + l.name
			if l.err != nil {
				list.missing(id, l.err)
			}
			items, all := pick(&l.loopReport)
			if more := all - len(items); more > 0 {
				list.missing(id, &Error{Kind: Refused, Message: fmt.Sprintf("%d more, a loop lists %d", more, maxListed), Hint: "ask the program"})
			}
			list.Items = append(list.Items, items...)
		}
	}
	return list
}

// actorList lists the actors of all nodes. Their system tells of them without asking
// their loops, so those of a blocked loop are in the list, too.
func (s *Server) actorList(ctx context.Context) *List[Actor] {
	list, members := newList[Actor]("ActorList"), s.node.Members()
	answers, errs := make([][]Actor, len(members)), make([]error, len(members))
	inParallel(len(members), func(i int) {
		answers[i], _, errs[i] = ask(ctx, s, askActors, members[i].Name+"/"+LoopName, struct{}{})
	})
	for i, m := range members {
		if errs[i] != nil {
			list.missing(m.Name, errs[i])
		}
		list.Items = append(list.Items, answers[i]...)
	}
	return list
}

// funcs lists the registered functions of all nodes. One name can stand there twice:
// during an upgrade the programs of two nodes may differ in a function's types, and
// then a caller has to know which node has which.
func (s *Server) funcs(ctx context.Context) *List[Func] {
	list := newList[Func]("FuncList")
	at := map[string]int{}
	for _, v := range s.survey(ctx, nil) {
		if v.err != nil {
			list.missing(v.Name, v.err)
		}
		for _, f := range v.Functions {
			key := f.Name + "\x00" + f.In + "\x00" + f.Out // programs may differ
			i, ok := at[key]
			if !ok {
				i = len(list.Items)
				at[key] = i
				list.Items = append(list.Items, Func{ID: f.Name, In: f.In, Out: f.Out, Internal: isInternal(f.Name)})
			}
			list.Items[i].Nodes = append(list.Items[i].Nodes, v.Name)
		}
	}
	slices.SortStableFunc(list.Items, func(a, b Func) int { return strings.Compare(a.ID, b.ID) })
	return list
}
