package transportactors

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
)

func TestFeed(t *testing.T) {
	within(t, func(ctx context.Context, here, there *probe) error {
		ref := here.t.Ref()
		there.t.PauseReading()
		var taken []int
		total := 64 << 20 // more than the kernel takes
		const piece = 1 << 20
		ends := 0
		stop, err := ref.OnEnd(func(error) { ends += 100 })
		if err != nil {
			return err
		}
		stop()
		if _, err := ref.OnEnd(func(reason error) {
			if ends++; reason != nil {
				t.Errorf("ended with %v", reason)
			}
		}); err != nil {
			return err
		}
		for i := range total / piece {
			if err := ref.Feed(make([]byte, piece), func(err error) {
				if err == nil {
					taken = append(taken, i)
				}
			}); err != nil {
				return err
			}
		}
		if err := ref.WriteEOF(func(err error) { t.Errorf("WriteEOF: %v", err) }); err != nil {
			return err
		}
		if err := loopnode.Sleep(ctx, 0); err != nil {
			return err
		}
		if len(taken) == total/piece || here.t.WriteBufferSize() > piece+defaultHigh {
			return fmt.Errorf("a peer that does not read: %d pieces taken, %d bytes queued", len(taken), here.t.WriteBufferSize())
		}
		there.t.ResumeReading()
		if err := errors.Join(there.wait(ctx)); err != nil {
			return err
		}
		if len(there.data) != total || len(taken) != total/piece {
			return fmt.Errorf("%d bytes arrived, %d pieces taken", len(there.data), len(taken))
		}
		for i, n := range taken {
			if i != n {
				return fmt.Errorf("piece %d was taken as number %d", n, i)
			}
		}
		if err := ref.Feed(nil, nil); !errors.Is(err, ErrWriteEOF) && !errors.Is(err, ErrClosed) {
			return fmt.Errorf("behind WriteEOF: %v", err)
		}
		if err := here.wait(ctx); err != nil {
			return err
		}
		if err := loopnode.Sleep(ctx, 0); err != nil {
			return err
		}
		late := 0
		if _, err := ref.OnEnd(func(error) { late++ }); err != nil {
			return err
		}
		if err := loopnode.Sleep(ctx, 0); err != nil {
			return err
		}
		if err := loopnode.Sleep(ctx, 0); err != nil {
			return err
		}
		if ends != 1 || late != 1 {
			return fmt.Errorf("the end was told %d times, late %d times", ends, late)
		}
		return nil
	})
}

func TestRefFails(t *testing.T) {
	why := errors.New("a frame is missing")
	within(t, func(ctx context.Context, here, _ *probe) error {
		told := make(chan error, 2)
		ref := here.t.Ref()
		if _, err := ref.OnEnd(func(reason error) { told <- reason }); err != nil {
			return err
		}
		if err := ref.Fail(why); err != nil {
			return err
		}
		if err := here.wait(ctx); !errors.Is(err, why) {
			return fmt.Errorf("ConnectionLost(%v)", err)
		}
		if err := loopnode.Sleep(ctx, 0); err != nil {
			return err
		}
		if got := <-told; !errors.Is(got, why) || len(told) > 0 {
			return fmt.Errorf("OnEnd was told %v, and %d more", got, len(told))
		}
		if err := ref.Feed([]byte("x"), nil); !errors.Is(err, ErrClosed) {
			return fmt.Errorf("after the end: %v", err)
		}
		return nil
	})
}
