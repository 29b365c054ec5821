package durable

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/names"
	"github.com/loopmesh/loopmesh/loopnode"
)

// account is a state of these tests.
type account struct {
	Sum  int
	Last string
}

// deposit adds to an account and keeps who did.
func deposit(n int, who string) func(*account, *Tx) error {
	return func(a *account, _ *Tx) error {
		a.Sum, a.Last = a.Sum+n, who
		return nil
	}
}

func accounts(t *testing.T, n *cluster.Node) *State[account] {
	t.Helper()
	s, err := NewState[account](n, "accounts")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAStateChangesOnceForEachRun(t *testing.T) {
	a := stored(t)
	b := beside(t, "b", a)
	ctx := testCtx(t)
	here, there := accounts(t, a), accounts(t, b)
	if v, err := here.Get(ctx, "x"); v != (account{}) || err != nil {
		t.Errorf("before the first Update: %v, %v", v, err)
	}
	for range 2 {
		if err := here.Update(ctx, by(1, "one"), "x", deposit(5, "one")); err != nil {
			t.Fatal(err)
		}
	}
	if err := there.Update(ctx, by(2, "two"), "x", deposit(2, "two")); err != nil {
		t.Fatal(err)
	}
	wantIs(t, here.Update(ctx, by(1, "three"), "x", deposit(100, "three")), ErrStale)
	if v, err := here.Get(ctx, "x"); v != (account{7, "two"}) || err != nil {
		t.Errorf("%v, %v, want 7 of two", v, err)
	}
	other, err := NewState[[]string](a, "accounts")
	if err != nil {
		t.Fatal(err)
	}
	_, err = other.Get(ctx, "x")
	wantIs(t, err, cluster.ErrBadPayload, "stored state")
}

func TestAStateIsChangedByManyAtOnce(t *testing.T) {
	a := stored(t)
	nodes := []*cluster.Node{a, beside(t, "b", a), a}
	ctx := testCtx(t)
	const count = 15
	var all sync.WaitGroup
	for g, n := range nodes {
		s := accounts(t, n)
		all.Go(func() {
			for i := range count {
				if err := s.Update(ctx, by(1, fmt.Sprint(g, "-", i)), "x", deposit(1, "many")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if v, err := accounts(t, a).Get(ctx, "x"); v.Sum != count*len(nodes) || err != nil {
		t.Errorf("%v, %v, want %d", v, err, count*len(nodes))
	}
}

// TestAStateAndItsCallForLaterAreOneStep: no call without the value, and no value
// without the call.
func TestAStateAndItsCallForLaterAreOneStep(t *testing.T) {
	a := stored(t)
	ctx := testCtx(t)
	s := accounts(t, a)
	armed := func() (n int) {
		t.Helper()
		list, err := Timers(ctx, a, "shop")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	with := func(id string, end error) func(*account, *Tx) error {
		return func(v *account, tx *Tx) error {
			v.Sum++
			for range 2 { // of two with one id there is one
				if err := CallLaterIn(tx, id, note, id, time.Hour, Group("shop")); err != nil {
					return err
				}
			}
			return end
		}
	}
	mine := errors.New("mine")
	wantIs(t, s.Update(ctx, by(2, "one"), "x", with("later", mine)), mine)
	wantIs(t, s.Update(ctx, by(2, "one"), "x", with("", nil)), ErrBadID)
	if v, err := s.Get(ctx, "x"); v.Sum != 0 || err != nil || armed() != 0 {
		t.Errorf("an Update that failed left %v, %v and %d calls", v, err, armed())
	}
	for range 2 {
		if err := s.Update(ctx, by(2, "two"), "x", with("later", nil)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Update(ctx, by(2, "three"), "x", with("later", nil)); err != nil {
		t.Error("the same call once more is no other one:", err)
	}
	wantIs(t, s.Update(ctx, by(1, "four"), "x", with("never", nil)), ErrStale)
	wantIs(t, s.Update(ctx, by(2, "five"), "x", func(_ *account, tx *Tx) error {
		return CallLaterIn(tx, "later", note, "something else", time.Hour, Group("shop"))
	}), ErrExists)
	if v, err := s.Get(ctx, "x"); v.Sum != 2 || err != nil || armed() != 1 {
		t.Errorf("%v, %v and %d calls, want 2 and one", v, err, armed())
	}
	serving(t, a, "shop")
	if err := s.Update(ctx, by(2, "six"), "x", func(_ *account, tx *Tx) error {
		return CallLaterIn(tx, "soon", note, "soon", 0, Group("shop"))
	}); err != nil {
		t.Fatal(err)
	}
	until(t, "a call that was armed with a state runs", func() bool { return len(book.of("soon")) == 1 })
}

func TestWhatAStateRefuses(t *testing.T) {
	a := stored(t)
	ctx := testCtx(t)
	_, err := NewState[int](nil, "x")
	wantIs(t, err, cluster.ErrConfig)
	_, err = NewState[int](a, "")
	wantIs(t, err, ErrBadID)
	s, err := NewState[string](a, "texts")
	if err != nil {
		t.Fatal(err)
	}
	wantIs(t, s.Update(ctx, by(1, "x"), "k", nil), cluster.ErrConfig)
	wantIs(t, s.Update(ctx, by(0, "x"), "k", func(*string, *Tx) error { return nil }), cluster.ErrConfig, "Token")
	wantIs(t, s.Update(ctx, by(1, "x"), "", func(*string, *Tx) error { return nil }), ErrBadID)
	wantIs(t, CallLaterIn(nil, "x", note, "", 0), cluster.ErrConfig)
	large := strings.Repeat("x", 1<<20)
	begin := time.Now()
	wantIs(t, s.Update(ctx, by(1, "x"), "k", func(v *string, _ *Tx) error { *v = large; return nil }), cluster.ErrTooLarge)
	if took := time.Since(begin); took > applyLimit/2 {
		t.Error("a value that is too large was tried for", took)
	}
	if err := s.Update(ctx, by(1, "x"), "k", func(v *string, _ *Tx) error { *v = "fits"; return nil }); err != nil {
		t.Error("nothing of what was refused counts:", err)
	}
}

// TestTheNextOwnerOfAStateGoesOn: a singleton counts; its node closes in the middle of it,
// and the next one goes on with the next number.
func TestTheNextOwnerOfAStateGoesOn(t *testing.T) {
	a := stored(t)
	b, c := beside(t, "b", a), beside(t, "c", a)
	ctx := testCtx(t)
	const most = 60
	var first atomic.Pointer[cluster.Node] // it stops in the middle, and its node has to close
	count := func(ctx context.Context, n *cluster.Node, o *names.Ownership) error {
		s, err := NewState[[]int](n, "numbers")
		first.CompareAndSwap(nil, n)
		for err == nil {
			var have []int
			if have, err = s.Get(ctx, "x"); err != nil || len(have) >= most {
				break
			}
			if len(have) == most/2 && first.Load() == n {
				return loopnode.WaitDone(ctx)
			}
			next := len(have)
			err = s.Update(ctx, Run{Owner: o.Owner().Name, Token: o.Token(), ID: fmt.Sprint(next)}, "x", func(v *[]int, _ *Tx) error {
				*v = append(*v, next)
				return nil
			})
		}
		return err
	}
	var placed []*names.Placed
	for _, n := range []*cluster.Node{b, c} {
		p, err := names.Place(n, "counter", newLoop(t, n), func(ctx context.Context, o *names.Ownership) error { return count(ctx, n, o) })
		if err != nil {
			t.Fatal(err)
		}
		placed = append(placed, p)
	}
	s, err := NewState[[]int](a, "numbers")
	if err != nil {
		t.Fatal(err)
	}
	numbers := func() []int {
		v, err := s.Get(ctx, "x")
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	until(t, "it has counted to the middle", func() bool { return len(numbers()) >= most/2 })
	first.Load().Close()
	until(t, "the next owner counts to the end", func() bool { return len(numbers()) == most })
	for i, n := range numbers() {
		if i != n {
			t.Fatal("not one after another:", numbers())
		}
	}
	for _, p := range placed {
		p.Stop()
	}
}
