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

func newList[T any](kind string) *List[T] {
	return &List[T]{Kind: kind, APIVersion: APIVersion, Time: time.Now().UTC(), Items: []T{}}
}

// missing notes that id did not answer.
func (l *List[T]) missing(id string, err error) {
	e := *asError(err)
	if errors.Is(err, cluster.ErrUnknownLoop) && !strings.Contains(id, "/") {
		e = Error{NotFound, "its program does not open the admin API", "call admin.Open there, or start it with this program"}
	}
	l.Partial = append(l.Partial, Missing{id, e})
}

func incarnation(number uint64) string { return fmt.Sprintf("%016x", number) }

// nodes lists the members of the cluster.
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

// loops lists the loops of all nodes.
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

// conns lists the connections on the loops of all nodes.
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

// funcs lists the registered functions of all nodes.
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
