package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
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

// missing notes that id did not answer. A node without the loop "admin" is a program
// that uses the library and does not open this API: the error "unknown loop" would be
// true and of no help.
func (l *List[T]) missing(id string, err error) {
	e := *asError(err)
	if errors.Is(err, cluster.ErrUnknownLoop) && !strings.Contains(id, "/") {
		e = Error{NotFound, "its program does not open the admin API", "call admin.Open there, or start it with this program"}
	}
	l.Partial = append(l.Partial, Missing{id, e})
}

// incarnation writes the number as 16 hexadecimal digits: JSON readers that keep
// numbers as float64 would round it.
func incarnation(number uint64) string { return fmt.Sprintf("%016x", number) }

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

// node puts together what this node knows of a member (name, state, last seen) and
// what the member told. Suspect counts more than silent: membership has doubted it
// before this question did.
func (v *nodeView) node() Node {
	n := Node{
		ID: v.Name, Incarnation: incarnation(v.Incarnation), State: Ready, Self: v.Self, LastSeen: v.LastSeen.UTC(),
		Host: v.Host, PID: v.PID, Started: v.Started.UTC(), Version: v.Version, Go: v.Go, URL: v.URL, Loops: len(v.loops),
		Served: v.Stats.Served, Calls: v.Stats.Calls, CallsFailed: v.Stats.CallsFailed,
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
func (s *Server) loops(ctx context.Context) *List[Loop] {
	list := newList[Loop]("LoopList")
	for _, v := range s.survey(ctx, &loopQuestion{}) {
		if v.err != nil {
			list.missing(v.Name, v.err)
		}
		for _, l := range v.loops {
			id := v.Name + "/" + l.name
			if l.err != nil {
				list.missing(id, l.err)
				continue
			}
			list.Items = append(list.Items, Loop{
				ID: id, Node: v.Name, Name: l.name, Tasks: l.Tasks, Conns: l.Conns, Servers: l.Servers, AnsweredUS: l.took.Microseconds(),
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
				list.missing(id, &Error{Refused, fmt.Sprintf("%d more connections, a loop lists %d", more, maxListed), "close some, or ask the program"})
			}
			list.Items = append(list.Items, l.Listed...)
		}
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
				list.Items = append(list.Items, Func{ID: f.Name, In: f.In, Out: f.Out, Internal: strings.HasPrefix(f.Name, internalPrefix)})
			}
			list.Items[i].Nodes = append(list.Items[i].Nodes, v.Name)
		}
	}
	slices.SortStableFunc(list.Items, func(a, b Func) int { return strings.Compare(a.ID, b.ID) })
	return list
}
