package durable

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
	"github.com/loopmesh/loopmesh/cluster/internal/records"
)

// rounds counts the batches with effects of an owner whose token is known.
func rounds(t testing.TB, n *cluster.Node, s *Sink, owner string) func() int {
	t.Helper()
	parts := n.Inside(inside.Key{})
	js, err := parts.JetStream(testCtx(t))
	if err != nil {
		t.Fatal(err)
	}
	sub, err := js.Conn().SubscribeSync(records.Of(parts).Subject(s.subject("same", owner)))
	if err != nil {
		t.Fatal(err)
	}
	return func() int {
		count, _, err := sub.Pending()
		if err != nil {
			t.Fatal(err)
		}
		return count
	}
}

// patient repeats an Apply until it is known.
func patient(ctx context.Context, t testing.TB, s *Sink, run Run, fn func(*Tx) error) {
	for {
		err := s.Apply(ctx, run, fn)
		if err == nil {
			return
		}
		if !errors.Is(err, cluster.ErrNoQuorum) && !errors.Is(err, cluster.ErrBusy) || ctx.Err() != nil {
			t.Error(run.ID, err)
			return
		}
	}
}

// TestEffectsOfOneOwnerAreStoredTogether: many that come to the voters at once take few
// rounds, also the first ones of a new token.
func TestEffectsOfOneOwnerAreStoredTogether(t *testing.T) {
	n := threeVoters(t)[0]
	ctx := longCtx(t)
	s, err := NewSink(n, "sink")
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the voters have elected", func() bool { return s.Apply(ctx, by(1, "first"), add("first")) == nil })
	const many, tokens = 48, 2
	count := rounds(t, n, s, by(1, "").Owner)
	for token := range uint64(tokens) {
		var all, came sync.WaitGroup
		came.Add(many)
		here := make(chan struct{})
		go func() { came.Wait(); close(here) }()
		for i := range many {
			all.Go(func() {
				once := sync.OnceFunc(came.Done)
				patient(ctx, t, s, by(2+token, fmt.Sprint(token, "-", i)), func(tx *Tx) error {
					if err := add(fmt.Sprint("key-", i))(tx); err != nil {
						return err
					}
					once()
					select { // all have read before the first one writes
					case <-here:
					case <-tx.ctx.Done():
					}
					return nil
				})
			})
		}
		all.Wait()
	}
	if got := count(); got == 0 || got > many*tokens/4 {
		t.Errorf("%d effects took %d rounds", many*tokens, got)
	}
	for i := range many {
		if b, err := s.Get(ctx, fmt.Sprint("key-", i)); string(b) != fmt.Sprint(tokens) || err != nil {
			t.Errorf("key %d: %q, %v", i, b, err)
		}
	}
}

// TestAVoterGoesInTheMiddle: the voter that leads the records ends while effects are under
// way. None is lost, and none is had twice.
func TestAVoterGoesInTheMiddle(t *testing.T) {
	voters := threeVoters(t)
	ctx := longCtx(t)
	s, err := NewSink(voters[0], "sink")
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the voters have elected", func() bool { return s.Apply(ctx, by(1, "first"), add("first")) == nil })
	at := leads(t, voters)
	if at == 0 { // whoever asks is to stay
		if s, err = NewSink(voters[1], "sink"); err != nil {
			t.Fatal(err)
		}
	}
	const workers, each = 32, 12
	var all sync.WaitGroup
	var had atomic.Int64
	harm := sync.OnceFunc(voters[at].Close)
	for g := range workers {
		all.Go(func() {
			for i := range each {
				patient(ctx, t, s, by(1, fmt.Sprint(g, "-", i)), add(fmt.Sprint("key-", g)))
				if had.Add(1) == workers*each/3 {
					harm()
				}
			}
		})
	}
	all.Wait()
	for g := range workers {
		if b, err := s.Get(ctx, fmt.Sprint("key-", g)); string(b) != fmt.Sprint(each) || err != nil {
			t.Errorf("key %d: %q, %v", g, b, err)
		}
	}
}

// leads is which of the voters leads the stream of records.
func leads(t testing.TB, voters []*cluster.Node) (at int) {
	t.Helper()
	ctx := testCtx(t)
	until(t, "the records have a leader", func() bool {
		parts := voters[0].Inside(inside.Key{})
		js, err := parts.JetStream(ctx)
		if err != nil {
			return false
		}
		stream, err := js.Stream(ctx, records.StreamName(parts.Cluster))
		if err != nil || stream.CachedInfo().Cluster == nil {
			return false
		}
		for i, n := range voters {
			own, err := n.Inside(inside.Key{}).JetStream(ctx)
			if err == nil && own.Conn().ConnectedServerName() == stream.CachedInfo().Cluster.Leader {
				at = i
				return true
			}
		}
		return false
	})
	return at
}
