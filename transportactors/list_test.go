package transportactors

import (
	"context"
	"fmt"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
)

func TestWhatLivesOnALoopIsListed(t *testing.T) {
	inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
		l, _ := loopnode.Running(ctx)
		if n, m := len(Transports(l)), len(Servers(l)); n+m != 0 {
			return fmt.Errorf("an empty loop has %d transports and %d servers", n, m)
		}
		there := newProbe(ctx)
		s, err := serve(ctx, there)
		if err != nil {
			return err
		}
		tr, here, err := CreateConnection(ctx, func() *probe { return newProbe(ctx) }, "tcp", s.Addrs()[0].String())
		if err != nil {
			return err
		}
		if n, m := len(Transports(l)), len(Servers(l)); n != 2 || m != 1 {
			return fmt.Errorf("%d transports and %d servers, want both ends and one server", n, m)
		}
		for _, t := range Transports(l) {
			if ref, ok := Lookup(t.Ref().Address()); !ok || ref != t.Ref() {
				return fmt.Errorf("%v is not found by its address", t.Ref())
			}
		}
		s.Close()
		tr.Abort()
		if err := here.wait(ctx); err != nil {
			return err
		}
		if err := there.wait(ctx); err != nil {
			return err
		}
		if n, m := len(Transports(l)), len(Servers(l)); n+m != 0 {
			return fmt.Errorf("%d transports and %d servers are left", n, m)
		}
		return nil
	})
}
