package durable

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/names"
	"github.com/loopmesh/loopmesh/loopnode"
)

// TestOthersAlwaysChangeTheKey: an Apply that never gets through says why, and not that the
// voters do not answer.
func TestOthersAlwaysChangeTheKey(t *testing.T) {
	n := stored(t)
	ctx := longCtx(t)
	o := claimed(t, n, "own")
	run := func(id string) Run { return Run{Owner: "own", ID: id, Token: o.Token()} }
	s, err := NewState[int](n, "st")
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewState[int](n, "st")
	if err != nil {
		t.Fatal(err)
	}
	tries := 0
	err = s.Update(ctx, run("slow"), "k", func(v *int, _ *Tx) error {
		tries++
		*v = -1
		return other.Update(ctx, run(fmt.Sprint("other-", tries)), "k", func(v *int, _ *Tx) error { *v++; return nil })
	})
	if !errors.Is(err, cluster.ErrBusy) || errors.Is(err, cluster.ErrNoQuorum) || tries < 2 {
		t.Errorf("after %d tries: %v", tries, err)
	}
	if v, err := s.Get(ctx, "k"); err != nil || v < 1 {
		t.Error(v, err)
	}
}

// TestManyUpdatesOfOneKey: a hundred at once all have their effect, once; none hears that the
// voters do not answer. On a slow machine one may have to try again.
func TestManyUpdatesOfOneKey(t *testing.T) {
	n := stored(t)
	ctx := longCtx(t)
	o := claimed(t, n, "own")
	s, err := NewState[int](n, "st")
	if err != nil {
		t.Fatal(err)
	}
	const many, each = 100, 3
	var all sync.WaitGroup
	for g := range many {
		all.Go(func() {
			for i := range each {
				err := cluster.ErrBusy
				for errors.Is(err, cluster.ErrBusy) {
					err = s.Update(ctx, Run{Owner: "own", ID: fmt.Sprint(g, "-", i), Token: o.Token()}, "k", func(v *int, _ *Tx) error { *v++; return nil })
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if v, err := s.Get(ctx, "k"); err != nil || v != many*each {
		t.Error(v, err)
	}
}

// TestEffectsOfOneOwnerDoNotDisturbEachOther: on three voters, effects of one owner that touch
// no common key are had at the first attempt, however many there are at once.
func TestEffectsOfOneOwnerDoNotDisturbEachOther(t *testing.T) {
	n := threeVoters(t)[0]
	ctx := longCtx(t)
	var o *names.Ownership
	until(t, "the voters have elected", func() bool {
		var err error
		o, err = names.Claim(ctx, n, "own", loopnode.Ref{})
		return err == nil
	})
	const many, each = 16, 2
	var tries atomic.Int64
	apply := func(g, i int) error {
		s, err := NewSink(n, "sink") // of its own, as a function has it that makes one in each run
		if err != nil {
			return err
		}
		return s.Apply(ctx, Run{Owner: "own", ID: fmt.Sprint(g, "-", i), Token: o.Token()}, func(tx *Tx) error {
			tries.Add(1)
			return tx.Put(fmt.Sprint("key-", g), []byte{byte(i)})
		})
	}
	if err := apply(many, 0); err != nil { // the sink has seen the token now
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for g := range many {
		all.Go(func() {
			for i := range each {
				if err := apply(g, i); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if most := int64(many*each + 1 + 5); tries.Load() > most { // an answer may be late on a busy machine
		t.Errorf("%d effects took %d attempts", many*each+1, tries.Load())
	}
}
