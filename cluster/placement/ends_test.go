package placement

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/cluster/names"
	"github.com/loopmesh/loopmesh/loopnode"
)

// TestAnInstanceFailsWithALongError: what an instance says when it fails is cut, so that
// its node can still tell what it has.
func TestAnInstanceFailsWithALongError(t *testing.T) {
	store, nodes := stored(t, 2)
	b := newBoard(t)
	serving(t, nodes[1], b.kind("b")) // the supervisor's node
	until(t, "the other node supervises", func() bool {
		boss, err := names.Resolve(testCtx(t), store, hostsGroup)
		return err == nil && boss.Node == "b"
	})
	long := strings.Repeat("it fails \xff", 1<<18)
	s := serving(t, nodes[0], Kind{Name: "verbose", Run: func(context.Context, string, *names.Ownership) error { return errors.New(long) }})
	if err := Want(testCtx(t), store, "verbose", "x", Restarts(1, time.Minute)); err != nil {
		t.Fatal(err)
	}
	until(t, "it has failed", func() bool {
		list, err := List(testCtx(t), store)
		return err == nil && len(list) == 1 && list[0].State == Failed && len(list[0].Error) <= 2*maxError
	})
	until(t, "its node has forgotten it", func() bool { return len(s.report().Has) == 0 })
}

// TestAnErrorWithoutAText is a failure like any other, and no end in good order.
func TestAnErrorWithoutAText(t *testing.T) {
	store, nodes := stored(t, 1)
	serving(t, nodes[0], Kind{Name: "shard", Run: func(context.Context, string, *names.Ownership) error { return errors.New("") }})
	if err := Want(testCtx(t), store, "shard", "x", Restarts(0, time.Minute)); err != nil {
		t.Fatal(err)
	}
	until(t, "it has ended", func() bool {
		list, err := List(testCtx(t), store)
		if err == nil && len(list) == 1 && list[0].State == Finished {
			t.Fatalf("it counts as finished: %+v", list[0])
		}
		return err == nil && len(list) == 1 && list[0].State == Failed
	})
}

// TestInstancesThatDoNotEnd: some of those that are dropped ignore the end of their ctx. The
// others hear of it all the same, their node takes new ones, and those of another node that
// closes are placed again.
func TestInstancesThatDoNotEnd(t *testing.T) {
	const (
		count     = 20
		beforeAll = 20 * time.Second // they would take a minute, three seconds each, one after another
	)
	store, nodes := stored(t, 2)
	b := newBoard(t)
	var mu sync.Mutex
	told := map[string]time.Time{}
	release := make(chan struct{})
	let := sync.OnceFunc(func() { close(release) })
	t.Cleanup(let)
	stubborn := Kind{Name: "stubborn", Run: func(ctx context.Context, name string, _ *names.Ownership) error {
		b.enter("a", "stubborn "+name, 1<<62)
		defer b.leave("stubborn " + name)
		_ = loopnode.WaitDone(ctx)
		mu.Lock()
		told[name] = time.Now()
		mu.Unlock()
		for {
			select {
			case <-release:
				return nil
			default:
				_ = loopnode.Sleep(context.WithoutCancel(ctx), 10*time.Millisecond)
			}
		}
	}}
	serving(t, nodes[0], stubborn)
	for i := range count {
		if err := Want(testCtx(t), store, "stubborn", fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the stubborn ones run", func() bool { return b.running() == count })
	serving(t, nodes[1], b.kind("b"))
	begun := time.Now()
	for i := range count {
		if err := Drop(testCtx(t), store, "stubborn", fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "all of them have heard of it", func() bool { mu.Lock(); defer mu.Unlock(); return len(told) == count })
	if d := time.Since(begun); d > beforeAll {
		t.Errorf("the last of %d heard after %v that it was dropped", count, d)
	}
	begun = time.Now()
	wanting(t, store, 3)
	until(t, "others begin", func() bool { return b.running() == count+3 })
	if d := time.Since(begun); d > beforeAll {
		t.Errorf("others began after %v", d)
	}
	let()
	until(t, "they end", func() bool { return b.running() == 3 })
}

// TestANodeClosesWithInstancesThatDoNotEnd: Close is bounded, and names get free.
func TestANodeClosesWithInstancesThatDoNotEnd(t *testing.T) {
	store, nodes := stored(t, 2)
	release := make(chan struct{})
	defer close(release)
	begun := make(chan string, 100)
	kind := func(node string) Kind {
		return Kind{Name: "stubborn", Run: func(ctx context.Context, _ string, _ *names.Ownership) error {
			begun <- node
			for {
				select {
				case <-release:
					return nil
				default:
					if loopnode.Sleep(context.WithoutCancel(ctx), 10*time.Millisecond) != nil {
						continue // it ignores this, too
					}
				}
			}
		}}
	}
	serving(t, nodes[0], kind("a"))
	for i := range 3 {
		if err := Want(testCtx(t), store, "stubborn", fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		<-begun
	}
	serving(t, nodes[1], kind("b"))
	closed := make(chan struct{})
	go func() { nodes[0].Close(); close(closed) }()
	for i := range 3 {
		select {
		case <-begun:
		case <-time.After(time.Minute):
			t.Fatalf("only %d are placed again", i)
		}
	}
	<-closed
}
