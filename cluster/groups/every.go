package groups

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
	"github.com/loopmesh/loopmesh/cluster/internal/wait"
)

// Answer is how one loop answered a CallEvery. Loop is "" when the node itself did not say
// which loops it has: then Err says why.
type Answer[Out any] struct {
	Node  string
	Loop  string
	Value Out
	Err   error
}

// atOnce is how many questions of one CallEvery may be under way.
const atOnce = 256

// CallEvery runs f on every loop of every node of the cluster, this one included, at most
// once on each, and gathers the answers, by node and loop. It returns when all have
// answered or ctx has ended, whatever is there by then: a loop that did not answer has
// cluster.ErrExpired or why ctx ended, and may have run f. Without a deadline in ctx it
// ends after Config.CallTimeout. It suspends the task ctx belongs to, or blocks the
// goroutine.
//
// The nodes are the members that node n knows; each is asked for its loops first, for at
// most a third of the time. Error: ErrConfig, loopnode.ErrWouldBlock; how each loop ended
// is in its Answer.
func CallEvery[In, Out any](ctx context.Context, n *cluster.Node, f *cluster.Function[In, Out], in In) ([]Answer[Out], error) {
	if ctx == nil || n == nil || f == nil {
		return nil, fault.Config("CallEvery needs a ctx, a node and a function, not nil")
	}
	parts := n.Inside(inside.Key{})
	limit := parts.CallTimeout
	if at, has := ctx.Deadline(); has {
		limit = time.Until(at)
	}
	done, err := wait.New[struct{}](ctx)
	if err != nil {
		return nil, err
	}
	// The questions are asked by goroutines, which are no task: their ctx carries none.
	inner, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	s := &survey[In, Out]{ctx: inner, node: n, parts: parts, f: f, in: in, find: limit / 3, slots: make(chan struct{}, atOnce)}
	for _, m := range n.Members() {
		s.ask(m.Name)
	}
	// goroutine: owner: CallEvery; ends when every question has ended, at the latest when cancel ends their ctx
	go func() {
		s.work.Wait()
		done.Deliver(struct{}{})
	}()
	_, why := done.Wait(ctx)
	return s.answers(why), nil
}

// survey is a CallEvery under way.
type survey[In, Out any] struct {
	ctx   context.Context
	node  *cluster.Node
	parts *inside.Parts
	f     *cluster.Function[In, Out]
	in    In
	find  time.Duration
	slots chan struct{}
	work  sync.WaitGroup

	mu   sync.Mutex
	list []*Answer[Out]
	over map[*Answer[Out]]bool // of list: it has ended
}

// add notes a question.
func (s *survey[In, Out]) add(node, loop string) *Answer[Out] {
	a := &Answer[Out]{Node: node, Loop: loop}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, a)
	return a
}

// end notes how a question has ended.
func (s *survey[In, Out]) end(a *Answer[Out], v Out, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over == nil {
		s.over = map[*Answer[Out]]bool{}
	}
	a.Value, a.Err, s.over[a] = v, err, true
}

// drop forgets the question to a node: its loops answer for it.
func (s *survey[In, Out]) drop(a *Answer[Out]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = slices.DeleteFunc(s.list, func(have *Answer[Out]) bool { return have == a })
}

// ask asks a node for its loops, and then each of them.
func (s *survey[In, Out]) ask(node string) {
	whole := s.add(node, "")
	// goroutine: owner: CallEvery; ends when the node has answered, or with s.ctx
	s.work.Go(func() {
		ctx, cancel := context.WithTimeout(s.ctx, s.find)
		loops, err := s.parts.Loops(ctx, node)
		cancel()
		if err != nil {
			var none Out
			s.end(whole, none, err)
			return
		}
		var all []*Answer[Out]
		for _, loop := range loops {
			all = append(all, s.add(node, loop))
		}
		s.drop(whole)
		for _, a := range all {
			select {
			case s.slots <- struct{}{}:
			case <-s.ctx.Done():
				return
			}
			// goroutine: owner: CallEvery; ends when the loop has answered, or with s.ctx
			s.work.Go(func() {
				defer func() { <-s.slots }()
				s.call(a)
			})
		}
	})
}

// call calls f on a loop.
func (s *survey[In, Out]) call(a *Answer[Out]) {
	var v Out
	ref, err := s.node.RefTo(actors.Address{Node: a.Node, Path: a.Loop})
	if err == nil {
		v, err = s.f.Via(s.node).Call(s.ctx, ref, s.in)
	}
	s.end(a, v, err)
}

// answers are what is there; why is the reason not to wait any more, nil when all is.
func (s *survey[In, Out]) answers(why error) []Answer[Out] {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Answer[Out], 0, len(s.list))
	for _, a := range s.list {
		one := *a
		if !s.over[a] {
			one.Err = fmt.Errorf("%w: %s/%s had not answered", fault.ErrExpired, a.Node, a.Loop)
			if why != nil {
				one.Err = fmt.Errorf("%w: %w", one.Err, why)
			}
		}
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b Answer[Out]) int {
		if d := strings.Compare(a.Node, b.Node); d != 0 {
			return d
		}
		return strings.Compare(a.Loop, b.Loop)
	})
	return out
}
