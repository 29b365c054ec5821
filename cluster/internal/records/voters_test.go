package records_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nats.go"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
	"github.com/loopmesh/loopmesh/cluster/internal/records"
	"github.com/loopmesh/loopmesh/internal/testport"
)

// owner is the records of a node of three voters, and what effects of one owner compare.
type owner struct {
	*records.Records
	t     *testing.T
	token uint64 // the sequence of the record "effect.t.highest"
	marks *nats.Subscription
}

const token = "effect.t.highest"

// ofVoters starts them, and waits until they store.
func ofVoters(t *testing.T) (context.Context, *owner) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	routes := testport.Addresses(t, 3)
	var first *cluster.Node
	for i := range routes {
		n, err := cluster.Start(ctx, cluster.Config{
			Name: fmt.Sprintf("v%d", i+1), Voter: true, Routes: routes, RouteListen: routes[i], Listen: "127.0.0.1:0",
			StoreDir: t.TempDir(), Logger: hclog.NewNullLogger(),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(n.Close)
		if first == nil {
			first = n
		}
	}
	parts := first.Inside(inside.Key{})
	o := &owner{Records: records.Of(parts), t: t}
	var err error
	o.until("the voters have elected", func() bool {
		o.token, err = o.Put(ctx, token, []byte("7"), 0, 0)
		return err == nil
	})
	js, err := parts.JetStream(ctx)
	if err == nil {
		o.marks, err = js.Conn().SubscribeSync(o.Subject("effect.t.same"))
	}
	if err != nil {
		t.Fatal(err)
	}
	return ctx, o
}

func (o *owner) until(what string, ok func() bool) {
	o.t.Helper()
	tick, limit := time.NewTicker(3*time.Millisecond), time.NewTimer(patience)
	defer tick.Stop()
	defer limit.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit.C:
			o.t.Fatalf("not so after %v: %s", patience, what)
		}
	}
}

// effect is the batch of an effect that expects the sequence of its key.
func (o *owner) effect(id string, key uint64) []records.Write {
	return []records.Write{
		{Subject: "effect.t.id." + id, Body: []byte(records.Nonce())},
		{Subject: "effect.t.same", Guard: token, Expect: o.token},
		{Subject: "effect.t.key." + id, Body: []byte(records.Nonce()), Expect: key},
	}
}

// stored reports whether a batch was stored as it is.
func (o *owner) stored(ctx context.Context, writes []records.Write) bool {
	o.t.Helper()
	have, err := o.Get(ctx, writes[0].Subject)
	if err != nil && !errors.Is(err, records.ErrAbsent) {
		o.t.Fatal(err)
	}
	return string(have.Body) == string(writes[0].Body)
}

// TestManyEffectsAreOneRound: two hundred that wait are stored with one answer of the voters.
func TestManyEffectsAreOneRound(t *testing.T) {
	ctx, o := ofVoters(t)
	const many = 200
	release := o.HoldLine(token)
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			// An answer may be late on a busy machine: then it is known by the record.
			writes := o.effect(fmt.Sprint(i), 0)
			for err := o.Batch(ctx, token, writes); err != nil && !o.stored(ctx, writes); {
				if err = o.Batch(ctx, token, writes); ctx.Err() != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	o.until("all wait", func() bool { return o.InLine(token) == many })
	release()
	all.Wait()
	if rounds, _, err := o.marks.Pending(); err != nil || rounds == 0 || rounds > many/10 {
		t.Errorf("%d effects took %d rounds, %v", many, rounds, err)
	}
}

// TestOneWrongExpectation: of several that are sent together, the one whose key is another one
// hears that, and the others are stored.
func TestOneWrongExpectation(t *testing.T) {
	ctx, o := ofVoters(t)
	const many, wrong = 20, 7
	release := o.HoldLine(token)
	var writes [many][]records.Write
	var errs [many]error
	var all sync.WaitGroup
	for i := range many {
		expect := uint64(0)
		if i == wrong {
			expect = 1 << 40
		}
		writes[i] = o.effect(fmt.Sprint(i), expect)
		all.Go(func() { errs[i] = o.Batch(ctx, token, writes[i]) })
	}
	o.until("all wait", func() bool { return o.InLine(token) == many })
	release()
	all.Wait()
	// When an answer is late on a busy machine, what was sent may be under way yet, and keeps
	// others from being stored.
	late := slices.ContainsFunc(errs[:], func(err error) bool { return err != nil && !errors.Is(err, records.ErrConflict) })
	for i, err := range errs {
		switch there := o.stored(ctx, writes[i]); {
		case i == wrong && (there || !late && !errors.Is(err, records.ErrConflict)):
			t.Errorf("the wrong one: %v, it is there: %v", err, there)
		case i != wrong && !there && !late, err == nil && !there, errors.Is(err, records.ErrConflict) && there:
			t.Errorf("%d: %v, it is there: %v", i, err, there)
		}
	}
}

// TestOneWhoseTimeIsOver: it waits with others, is not stored, and does not keep them.
func TestOneWhoseTimeIsOver(t *testing.T) {
	ctx, o := ofVoters(t)
	const many = 20
	release := o.HoldLine(token)
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			writes := o.effect(fmt.Sprint(i), 0)
			if err := o.Batch(ctx, token, writes); err == nil && !o.stored(ctx, writes) || errors.Is(err, records.ErrConflict) {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	o.until("they wait", func() bool { return o.InLine(token) == many })
	leaving, leave := context.WithCancelCause(ctx)
	gone, over, why := o.effect("gone", 0), make(chan error, 1), errors.New("it is not wanted any more")
	go func() { over <- o.Batch(leaving, token, gone) }()
	o.until("all wait", func() bool { return o.InLine(token) == many+1 })
	leave(why)
	if err := <-over; !errors.Is(err, why) {
		t.Error(err)
	}
	release()
	all.Wait()
	if o.stored(ctx, gone) {
		t.Error("it is stored")
	}
}

// TestTheServerThatLeadsTellsTheLast: of a pattern, too, and of one that nothing matches.
func TestTheServerThatLeadsTellsTheLast(t *testing.T) {
	ctx, o := ofVoters(t)
	var last uint64
	for _, name := range []string{"a", "b"} {
		var err error
		if last, err = o.Put(ctx, "timer.g."+name, []byte("x"), 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	for pattern, want := range map[string]uint64{"timer.g.*": last, "timer.>": last, "timer.g.b": last, "timer.h.*": 0} {
		if seq, err := o.LastOf(ctx, pattern); err != nil || seq != want {
			t.Errorf("%s: %d, %v; want %d", pattern, seq, err, want)
		}
	}
}
