package admin

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/events"
)

// How one question becomes many. A survey has two rounds: every member is asked on
// its admin loop which loops it has, then every loop is asked for itself. Both run up
// to atOnce questions in parallel and wait for all of them.
//
// Invariant: a survey ends before its ctx does, however many members are silent. A
// question may take a third of the time that is left when it starts, and questionLimit
// at most. So atOnce silent questions at a time leave two thirds of the time to the
// next ones: when a round has at most atOnce questions, four ninths are left after two
// rounds without any answer, to send what is known. With more questions the later ones
// get less and less time, but all of them are asked. A fixed limit alone would use up a
// short --timeout, and the command would learn nothing.

// nodeView is a member and its answer, or why there is none. Fields of an answer that
// did not come are zero.
type nodeView struct {
	events.Member
	nodeReport
	loops []loopView
	err   error
}

// loopView is a loop and its answer, or why there is none. took is the time from the
// question to the answer, the network included.
type loopView struct {
	name string
	loopReport
	took time.Duration
	err  error
}

// Two bounds of a survey. Why questionLimit: a loop that answers later than that is
// of no use to a person who looks, and is shown as silent. Why atOnce: each question
// under way is a goroutine and a call, and a cluster may have thousands of loops.
const (
	questionLimit = 2 * time.Second // for one question; who is silent longer is shown as silent
	atOnce        = 64              // questions under way
)

// survey asks every member and then, when q is not nil, every loop. It waits until
// every question is answered or its time is over, so no loop's goroutine may call it.
func (s *Server) survey(ctx context.Context, q *loopQuestion) []nodeView {
	var views []nodeView
	for _, m := range s.node.Members() {
		views = append(views, nodeView{Member: m})
	}
	inParallel(len(views), func(i int) {
		v := &views[i]
		v.nodeReport, _, v.err = ask(ctx, s, askNode, v.Name+"/"+LoopName, struct{}{})
		for _, name := range v.Loops {
			v.loops = append(v.loops, loopView{name: name})
		}
	})
	views = stillMembers(views, s.node.Members())
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
	inParallel(len(all), func(i int) {
		all[i].loopReport, all[i].took, all[i].err = ask(ctx, s, askLoop, at[i], *q)
	})
	return views
}

// stillMembers leaves out who has ended while it was asked, and takes over what is
// known of the others now. Why: who did not answer would be shown in a state that is
// over, beside an error that says otherwise.
func stillMembers(views []nodeView, now []events.Member) (out []nodeView) {
	for _, v := range views {
		at := slices.IndexFunc(now, func(m events.Member) bool { return m.Name == v.Name && m.Incarnation == v.Incarnation })
		if at >= 0 {
			v.Member = now[at]
		}
		if at >= 0 || v.err == nil {
			out = append(out, v)
		}
	}
	return out
}

// ask calls f on the loop with the address on, within the limit of one question, and
// measures how long the answer takes.
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

// inParallel runs fn for 0 to n-1 and waits for all, at most atOnce at a time. It
// takes a slot before it starts a goroutine, so a large cluster does not cost a
// goroutine for each of its loops at once.
func inParallel(n int, fn func(i int)) {
	var work sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i := range n {
		slots <- struct{}{}
		// goroutine: owner: inParallel; ends when its question is answered or out of time
		work.Go(func() {
			defer func() { <-slots }()
			fn(i)
		})
	}
	work.Wait()
}
