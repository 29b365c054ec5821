package durable

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/loopmesh/loopmesh/cluster"
)

// by is a run of an owner.
func by(token uint64, id string) Run { return Run{Owner: "timers/shop", Token: token, ID: id} }

// add counts a key up.
func add(key string) func(*Tx) error {
	return func(tx *Tx) error {
		b, err := tx.Get(key)
		if err != nil {
			return err
		}
		n, _ := strconv.Atoi(string(b))
		return tx.Put(key, []byte(strconv.Itoa(n+1)))
	}
}

func TestASinkTakesAnEffectOnce(t *testing.T) {
	a := stored(t)
	ctx := testCtx(t)
	s, err := NewSink(a, "bank")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := s.Apply(ctx, by(7, "one"), add("sum")); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := s.Get(ctx, "sum"); string(b) != "1" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if err := s.Apply(ctx, by(9, "two"), add("sum")); err != nil {
		t.Fatal(err)
	}
	wantIs(t, s.Apply(ctx, by(8, "three"), add("sum")), ErrStale, "9", "8")
	if err := s.Apply(ctx, by(8, "one"), add("sum")); err != nil {
		t.Error("what was applied before is not stale:", err)
	}
	if err := s.Apply(ctx, Run{Owner: "queue/mail", Token: 3, ID: "one"}, add("sum")); err != nil {
		t.Error("the token and the ids of another name:", err)
	}
	if err := s.Apply(ctx, by(9, "four"), func(tx *Tx) error { return tx.Delete("sum") }); err != nil {
		t.Fatal(err)
	}
	if b, err := s.Get(ctx, "sum"); b != nil || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

func TestEffectsAtOnce(t *testing.T) {
	a := stored(t)
	b := beside(t, "b", a)
	ctx := testCtx(t)
	const count = 12
	var all sync.WaitGroup
	for g, n := range []*cluster.Node{a, b, a, b} {
		all.Go(func() {
			s, err := NewSink(n, "bank")
			if err != nil {
				t.Error(err)
				return
			}
			for i := range count {
				// Two of them apply the same ids.
				if err := s.Apply(ctx, by(1, fmt.Sprint(g/2, "-", i)), add("sum")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	s, _ := NewSink(a, "bank")
	if got, err := s.Get(ctx, "sum"); string(got) != strconv.Itoa(2*count) || err != nil {
		t.Errorf("%s, %v, want %d", got, err, 2*count)
	}
}

func TestWhatASinkRefuses(t *testing.T) {
	a := stored(t)
	ctx := testCtx(t)
	_, err := NewSink(a, "")
	wantIs(t, err, ErrBadID)
	_, err = NewSink(nil, "x")
	wantIs(t, err, cluster.ErrConfig)
	s, err := NewSink(a, "bank")
	if err != nil {
		t.Fatal(err)
	}
	var none context.Context
	mine := errors.New("mine")
	wantIs(t, s.Apply(none, by(1, "x"), add("k")), cluster.ErrConfig)
	wantIs(t, s.Apply(ctx, by(0, "x"), add("k")), cluster.ErrConfig, "Token")
	wantIs(t, s.Apply(ctx, by(1, ""), add("k")), ErrBadID)
	wantIs(t, s.Apply(ctx, by(1, "x"), add("")), ErrBadID)
	wantIs(t, s.Apply(ctx, by(1, "x"), func(*Tx) error { return mine }), mine)
	wantIs(t, s.Apply(ctx, by(1, "x"), func(tx *Tx) error {
		for i := range maxKeys + 1 {
			tx.seen[fmt.Sprint(i)] = 0
		}
		return nil
	}), ErrTxFull)
	if err := s.Apply(ctx, by(1, "x"), add("k")); err != nil {
		t.Error("nothing of what was refused counts:", err)
	}
}
