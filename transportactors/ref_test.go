package transportactors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors/internal/base"
)

func TestRef(t *testing.T) {
	within(t, func(ctx context.Context, here, there *probe) error {
		ref := here.t.Ref()
		if found, ok := Lookup(ref.Address()); !ok || found != ref || here.t.Ref() != ref {
			return errors.New("the ref is not found by its address")
		}
		text := []byte("from elsewhere")
		_, err := aside(ctx, func() (int, error) {
			err := ref.Write(text)
			clear(text)
			return 0, errors.Join(err, ref.Close())
		})
		if err != nil {
			return err
		}
		if err := errors.Join(here.wait(ctx), there.wait(ctx)); err != nil {
			return err
		}
		if string(there.data) != "from elsewhere" {
			return fmt.Errorf("got %q", there.data)
		}
		if err := loopnode.Sleep(ctx, 0); err != nil {
			return err
		}
		if err := ref.Abort(); !errors.Is(err, ErrClosed) {
			return fmt.Errorf("after the end: %v", err)
		}
		if _, ok := Lookup(ref.Address()); ok {
			return errors.New("found after the end")
		}
		if err := (Ref{}).Write(nil); !errors.Is(err, loopnode.ErrNotLocal) {
			return fmt.Errorf("the zero ref: %v", err)
		}
		return nil
	})
}

func TestLoopCloses(t *testing.T) {
	var here, there *probe
	inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) (err error) {
		_, here, there, err = pair(ctx)
		return err
	})
	for _, p := range []*probe{here, there} {
		if !slices.Equal(p.log, []string{"made", "lost"}) || !errors.Is(p.reason, loopnode.ErrLoopClosed) {
			t.Fatalf("%v, %v", p.log, p.reason)
		}
		if fd := p.t.ExtraInfo("socket").(*Socket).FD(); fd != -1 {
			t.Fatalf("descriptor %d is open", fd)
		}
	}
	if len(base.Members[any](here.t.Loop())) > 0 {
		t.Fatal("the loop still has members")
	}
}
