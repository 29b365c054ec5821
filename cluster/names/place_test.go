package names

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/loopnode"
)

// stage notes who runs a singleton.
type stage struct {
	mu   sync.Mutex
	runs []string // nodes, in order
	now  map[string]bool
	most int // at once
}

func (s *stage) enter(node string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs = append(s.runs, node)
	s.now[node] = true
	s.most = max(s.most, len(s.now))
}

func (s *stage) leave(node string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.now, node)
}

func (s *stage) last() (string, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.runs) == 0 {
		return "", 0
	}
	return s.runs[len(s.runs)-1], len(s.runs)
}

// body waits until it is cancelled.
func (s *stage) body(node string) func(context.Context, *Ownership) error {
	return func(ctx context.Context, _ *Ownership) error {
		s.enter(node)
		defer s.leave(node)
		return loopnode.Sleep(ctx, 1<<62)
	}
}

func loopOf(t testing.TB, n *cluster.Node) loopnode.Ref {
	t.Helper()
	ref, err := n.NewLoop("io-0", func(c *loopnode.Config) { c.Logger = hclog.NewNullLogger() })
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func TestASingletonRunsOnOneNode(t *testing.T) {
	a, b := pair(t)
	s := &stage{now: map[string]bool{}}
	first, err := Place(a, "one", loopOf(t, a), s.body("a"))
	if err != nil {
		t.Fatal(err)
	}
	until(t, "a runs it", func() bool { who, _ := s.last(); return who == "a" })
	second, err := Place(b, "one", loopOf(t, b), s.body("b"))
	if err != nil {
		t.Fatal(err)
	}
	first.Stop()
	until(t, "b runs it", func() bool { who, _ := s.last(); return who == "b" })
	<-first.Done()
	b.Close()
	<-second.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.most != 1 || len(s.now) != 0 || len(s.runs) != 2 {
		t.Errorf("%+v", s)
	}
}

func TestASingletonThatFailsIsTriedElsewhere(t *testing.T) {
	a, b := pair(t)
	s := &stage{now: map[string]bool{}}
	if _, err := Place(a, "one", loopOf(t, a), func(context.Context, *Ownership) error {
		s.enter("a")
		s.leave("a")
		panic("a cannot run it")
	}); err != nil {
		t.Fatal(err)
	}
	until(t, "a has tried", func() bool { _, n := s.last(); return n > 0 })
	if _, err := Place(b, "one", loopOf(t, b), s.body("b")); err != nil {
		t.Fatal(err)
	}
	until(t, "b runs it", func() bool { who, _ := s.last(); return who == "b" })
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.most != 1 {
		t.Errorf("%d at once", s.most)
	}
}

func TestASingletonThatIsDone(t *testing.T) {
	a, b := pair(t)
	p, err := Place(a, "one", loopOf(t, a), func(context.Context, *Ownership) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	until(t, "the name is free", func() bool { _, err := Resolve(testCtx(t), b, "one"); return errors.Is(err, ErrNotClaimed) })
	if _, err := Place(a, "", loopOf(t, b), nil); !errors.Is(err, cluster.ErrConfig) {
		t.Error(err)
	}
	_, err = Place(b, "", mustLoop(t, b), func(context.Context, *Ownership) error { return nil })
	wantIs(t, err, ErrBadName)
	far, err := a.Ref("elsewhere/io-0")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Place(a, "x", far, func(context.Context, *Ownership) error { return nil })
	wantIs(t, err, cluster.ErrConfig, "not of this process")
}

func mustLoop(t testing.TB, n *cluster.Node) loopnode.Ref {
	t.Helper()
	ref, ok := n.Loop("io-0")
	if !ok {
		t.Fatal("no loop")
	}
	return ref
}
