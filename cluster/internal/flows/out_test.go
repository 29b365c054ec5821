package flows

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/cluster/internal/credit"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/wait"
)

// TestARefusalCountsWhenTheWaitEndsInTheSameMoment: who waits for credit hears that the
// message was refused, also when its ctx has ended meanwhile.
func TestARefusalCountsWhenTheWaitEndsInTheSameMoment(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	down := fault.New("n2/io", "", fault.ErrNodeDown, "")
	for range 50 { // of the two, Wait returns either
		by, err := wait.New[error](ctx)
		if err != nil {
			t.Fatal(err)
		}
		w := &waiting{by: by}
		fl := &flow{queue: []*waiting{w}}
		fl.endLocked(down)
		if err := fl.wait(ctx, w); !errors.Is(err, fault.ErrNodeDown) {
			t.Fatalf("the message was refused, and its sender got %v", err)
		}
	}
}

// BenchmarkSweep is what a heartbeat costs a node that sends to 10,000 loops: flows that
// rest, and flows with something under way.
func BenchmarkSweep(b *testing.B) {
	for _, under := range []uint64{0, 1} {
		b.Run(fmt.Sprintf("%d under way", under), func(b *testing.B) {
			o, now := NewOut(nil, nil), time.Now()
			for i := range 10_000 {
				fl := &flow{key: outKey{"n2", 1, strconv.Itoa(i)}, id: uint64(i + 1), sender: credit.NewSender(), used: now, stalled: now}
				for range under {
					fl.sender.Take(1)
				}
				o.byKey[fl.key], o.byID[fl.id] = fl, fl
			}
			for b.Loop() {
				o.Sweep(now)
			}
		})
	}
}
