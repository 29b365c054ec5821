package groups

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
)

// TestCallsThatDidNotBeginGoToAnotherMember: a loop is stuck, and calls wait for it, some of them
// as tasks already; its node leaves. Their callers hear that nothing ran, so they run elsewhere;
// one whose function has begun is not repeated.
func TestCallsThatDidNotBeginGoToAnotherMember(t *testing.T) {
	c := together(t, 3)
	n1, n3 := c.Node("n1"), c.Node("n3")
	join(t, n1, "io", "a")
	know(t, c, "n3", "io", "n1/a")
	begun := make(chan error, 1)
	go func() { _, err := Call(testCtx(t), n3, "io", linger, ""); begun <- err }()
	<-running
	release, waiting := make(chan struct{}), 0
	unblock := sync.OnceFunc(func() { close(release) })
	defer unblock()
	block := func() {
		t.Helper()
		if err := loopOf(t, n1, "a").CallSoonThreadsafe(func() { <-release }); err != nil {
			t.Fatal(err)
		}
	}
	type answer struct {
		at  string
		err error
	}
	answers := make(chan answer, 200)
	const each = 50
	block()
	for range each {
		go func() {
			at, err := Call(testCtx(t), n3, "io", where, "")
			answers <- answer{at, err}
		}()
		waiting++
	}
	c.Eventually("they wait at n1", func() bool {
		calls, _ := n1.Inside(inside.Key{}).Running()
		return calls == waiting+1
	})
	join(t, c.Node("n2"), "io", "a")
	know(t, c, "n3", "io", "n1/a n2/a")
	closed := make(chan struct{})
	go func() { n1.Close(); close(closed) }()
	for range waiting {
		if a := <-answers; a.err != nil || a.at != "n2/a" {
			t.Errorf("%q, %v", a.at, a.err)
		}
	}
	if err := <-begun; !errors.Is(err, cluster.ErrClosed) || fault.NothingRan(err, "n1/a", linger.Name()) {
		t.Errorf("the one that has begun: %v", err)
	}
	unblock()
	<-closed
}

// TestACallThatRanOnALoopOfThisNodeIsNotRepeated: its loop is closed while the function runs.
func TestACallThatRanOnALoopOfThisNodeIsNotRepeated(t *testing.T) {
	c := together(t, 2)
	n1 := c.Node("n1")
	for range 20 {
		ref, err := n1.NewLoop("mine")
		if err != nil {
			t.Fatal(err)
		}
		m, err := Join(n1, "own", ref)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { _, err := Call(testCtx(t), n1, "own", linger, ""); ended <- err }()
		<-running
		other := join(t, c.Node("n2"), "own", "a")
		know(t, c, "n1", "own", "n1/mine n2/a")
		if err := ref.Stop(); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-ended:
			if !errors.Is(err, cluster.ErrClosed) && !errors.Is(err, cluster.ErrCancelled) {
				t.Error(err)
			}
		case at := <-running:
			t.Fatal("it runs once more, on", at)
		}
		m.Leave()
		c.Eventually("the loop is gone", func() bool { _, ok := n1.Loop("mine"); return !ok })
		other.Leave()
		know(t, c, "n1", "own", "")
	}
}

// TestACallOnItsWayToANodeThatLeaves: callers send as fast as they can while the node closes.
// Whatever did not run says so. One whose loop closes between its run and its answer has run.
func TestACallOnItsWayToANodeThatLeaves(t *testing.T) {
	c := together(t, 6)
	last := c.Node("n6")
	for _, name := range []string{"n2", "n3", "n4", "n5"} {
		n := c.Node(name)
		ref, err := last.Ref(name + "/a")
		if err != nil {
			t.Fatal(err)
		}
		var callers sync.WaitGroup
		var answered, begun atomic.Int64
		before := counter(name + "/a").Load()
		warm := make(chan struct{}, 1000)
		for range 16 {
			callers.Go(func() {
				for i := 0; ; i++ {
					_, err := where.Via(last).Call(context.WithoutCancel(testCtx(t)), ref, "")
					switch {
					case err == nil:
						if answered.Add(1); i == 20 {
							warm <- struct{}{}
						}
						continue
					case fault.NothingRan(err, name+"/a", where.Name()):
					case errors.Is(err, cluster.ErrClosed):
						begun.Add(1)
					default:
						t.Errorf("a call of %s: %v", name, err)
					}
					return
				}
			})
		}
		for range 16 {
			<-warm
		}
		n.Close()
		callers.Wait()
		if ran := counter(name+"/a").Load() - before; ran != answered.Load()+begun.Load() {
			t.Errorf("%d ran on %s, %d were answered and %d said that they had begun", ran, name, answered.Load(), begun.Load())
		}
	}
}

// TestMembersComeAndGoWhileCallsRun: a member joins and leaves a thousand times. Each call runs
// once, on somebody.
func TestMembersComeAndGoWhileCallsRun(t *testing.T) {
	c := together(t, 3)
	n2, n3 := c.Node("n2"), c.Node("n3")
	join(t, c.Node("n1"), "io", "a")
	know(t, c, "n3", "io", "n1/a")
	ran := func() int64 { return counter("n1/a").Load() + counter("n2/a").Load() }
	before := ran()
	ctx, stop := context.WithCancel(testCtx(t))
	defer stop()
	var callers sync.WaitGroup
	var calls atomic.Int64
	for range 4 {
		callers.Go(func() {
			for ctx.Err() == nil {
				if _, err := Call(testCtx(t), n3, "io", where, ""); err != nil {
					t.Error(err)
					return
				}
				calls.Add(1)
			}
		})
	}
	for range 1000 {
		join(t, n2, "io", "a").Leave()
	}
	last := join(t, n2, "io", "a")
	know(t, c, "n3", "io", "n1/a n2/a")
	last.Leave()
	know(t, c, "n3", "io", "n1/a")
	stop()
	callers.Wait()
	if n := ran() - before; n != calls.Load() || n == 0 {
		t.Errorf("%d calls ran %d times", calls.Load(), n)
	}
	r := roomOf(n3)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.load) != 0 {
		t.Errorf("calls are counted as under way: %v", r.load)
	}
}
