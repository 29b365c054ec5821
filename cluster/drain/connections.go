package drain

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

// GoingAway is what a protocol may have: it is called once, on the loop of its connection,
// when the node drains. It says so to its peer in the words of its protocol, lets what is
// under way end, and closes the transport by that time; what is open later is closed. It
// must not wait.
type GoingAway interface{ GoingAway(until time.Time) }

// Which connections are waited for? Those whose protocol has GoingAway: it was told, so it is
// known to be ending. The others have no way to be told. They go on while the drain waits for
// what it does wait for, and are closed in the last step, when they have sent what was
// written. A protocol that answers requests should therefore have GoingAway, and one that only
// sends need not.
//
// A connection that was accepted in the moment in which its listener was closed is not told;
// it is closed in the last step, too.

// connections are those of the loops of a node. A look at a loop is a turn of it: one that
// is stuck holds up the step, until its limit, and nothing else.
type connections struct{ node *cluster.Node }

// on runs fn on every loop of the node and waits for all, or for ctx.
func (c *connections) on(ctx context.Context, fn func(*loopnode.Loop)) {
	var all []chan struct{}
	for _, name := range c.node.Loops() {
		ref, ok := c.node.Loop(name)
		loop, here := ref.Local()
		if !ok || !here {
			continue
		}
		ran := make(chan struct{})
		end := sync.OnceFunc(func() { close(ran) })
		unhook := loop.OnClose(end) // what is posted to a loop that closes never runs
		defer unhook()
		if loop.Ref().CallSoonThreadsafe(func() { defer end(); fn(loop) }) == nil {
			all = append(all, ran)
		}
	}
	for _, ran := range all {
		select {
		case <-ran:
		case <-ctx.Done():
			return
		}
	}
}

// lookLimit bounds a look at the loops.
const lookLimit = time.Second

// goAway accepts no connections any more, and tells those that there are.
func (c *connections) goAway(ctx context.Context, until time.Time) {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	c.on(ctx, func(l *loopnode.Loop) {
		for _, s := range transportactors.Servers(l) {
			s.Close()
		}
		for _, t := range transportactors.Transports(l) {
			if p, ok := t.Protocol().(GoingAway); ok && !t.IsClosing() {
				l.CallSoon(func() { p.GoingAway(until) }) // one that panics ends alone
			}
		}
	})
}

// left says how many of those that were told have something under way.
func (c *connections) left(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	var mu sync.Mutex
	open := map[string]int{}
	for _, name := range c.node.Loops() {
		open[name] = -1
	}
	c.on(ctx, func(l *loopnode.Loop) {
		n := 0
		for _, t := range transportactors.Transports(l) {
			if _, ok := t.Protocol().(GoingAway); ok && ends(t) {
				n++
			}
		}
		mu.Lock()
		defer mu.Unlock()
		open[l.Name()] = n
	})
	mu.Lock()
	defer mu.Unlock()
	var out []string
	sum := 0
	for name, n := range open {
		if n < 0 && ctx.Err() != nil {
			out = append(out, fmt.Sprintf("loop %s, which is stuck", name))
		}
		sum += max(n, 0)
	}
	if sum > 0 {
		out = append(out, fmt.Sprintf("%d connections", sum))
	}
	return out
}

// ends reports whether a connection has something under way: it is open, or has yet to send
// what was written. One that is closing and has nothing to send only waits for its protocol,
// which has paused reading, to take the last that its peer sent: it was not told, because its
// peer is gone, and so nothing makes it read.
func ends(t transportactors.Transport) bool { return !t.IsClosing() || t.WriteBufferSize() > 0 }

// close closes every connection that is left, and waits until they have sent what they
// had, or for ctx.
func (c *connections) close(ctx context.Context) {
	c.on(ctx, func(l *loopnode.Loop) {
		for _, t := range transportactors.Transports(l) {
			t.Close()
		}
	})
	tick := time.NewTicker(look)
	defer tick.Stop()
	for ctx.Err() == nil {
		open := 0
		var mu sync.Mutex
		c.on(ctx, func(l *loopnode.Loop) {
			mu.Lock()
			defer mu.Unlock()
			open += len(transportactors.Transports(l))
		})
		mu.Lock()
		over := open == 0
		mu.Unlock()
		if over {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}
