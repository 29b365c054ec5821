package admin

import (
	"context"
	"sync"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
)

// nodeView is a member and what it told, or why it did not.
type nodeView struct {
	cluster.Member
	nodeReport
	loops []loopView
	err   error
}

// loopView is a loop and what it told, or why it did not.
type loopView struct {
	name string
	loopReport
	took time.Duration
	err  error
}

const (
	questionLimit = 2 * time.Second // for one question; who is silent longer is shown as silent
	atOnce        = 64              // questions under way
)

// survey asks every member and then, when q is not nil, every loop. It waits
// until all have answered or had their time. Any goroutine but a loop's.
func (s *Server) survey(ctx context.Context, q *loopQuestion) []nodeView {
	var views []nodeView
	for _, m := range s.node.Members() {
		views = append(views, nodeView{Member: m})
	}
	each(len(views), func(i int) {
		v := &views[i]
		v.nodeReport, _, v.err = ask(ctx, s, askNode, v.Name+"/"+LoopName, struct{}{})
		for _, name := range v.Loops {
			v.loops = append(v.loops, loopView{name: name})
		}
	})
	if q == nil {
		return views
	}
	var all []*loopView
	var at []string
	for i := range views {
		for j := range views[i].loops {
			l := &views[i].loops[j]
			all, at = append(all, l), append(at, views[i].Name+"/"+l.name)
		}
	}
	each(len(all), func(i int) {
		all[i].loopReport, all[i].took, all[i].err = ask(ctx, s, askLoop, at[i], *q)
	})
	return views
}

// ask puts one question. It takes at most a third of the time that is left, so
// that there is time to answer when nobody else does.
func ask[In, Out any](ctx context.Context, s *Server, f *cluster.Function[In, Out], on string, in In) (out Out, took time.Duration, err error) {
	limit := questionLimit
	if at, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(at)/3)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ref, err := s.node.Ref(on)
	if err != nil {
		return out, 0, err
	}
	begun := time.Now()
	out, err = f.Via(s.node).Call(ctx, ref, in)
	return out, time.Since(begun), err
}

// each runs fn for 0 to n-1, several at once, and waits for all.
func each(n int, fn func(i int)) {
	var work sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i := range n {
		slots <- struct{}{}
		// goroutine: owner: each; ends when its question is answered or out of time
		work.Go(func() {
			defer func() { <-slots }()
			fn(i)
		})
	}
	work.Wait()
}
