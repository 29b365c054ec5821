package flows

import (
	"context"
	"errors"
	"testing"

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
