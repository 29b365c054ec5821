package transportactors

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
)

func TestStatsOf(t *testing.T) {
	t.Run("what waits for slow peers and slow tasks is in the sums, and why writing is paused", func(t *testing.T) {
		bothKinds(t, func(t *testing.T, opts []ConnOption) {
			deaf(t, opts, func(ctx context.Context, here, there *probe, _ *[]loopnode.ExceptionContext) error {
				l := here.t.Loop()
				idle := StatsOf(l)
				if idle.Transports != 2 || idle.Paused != 0 || idle.Output != 0 || here.t.ExtraInfo("paused") != nil {
					return fmt.Errorf("at rest %+v, paused: %v", idle, here.t.ExtraInfo("paused"))
				}
				must(t, here.t.Write(make([]byte, 16<<20)))
				must(t, here.t.Ref().Abort()) // it has a Ref, and goes on until the next turn
				s := StatsOf(l)
				why, _ := here.t.ExtraInfo("paused").(string)
				if s.Paused != 1 || s.Output != here.t.WriteBufferSize() || s.Output == 0 || s.MostOutput != s.Output || !strings.Contains(why, "bytes wait for the peer") {
					return fmt.Errorf("with a deaf peer %+v, paused: %q", s, why)
				}
				moved, _ := here.t.ExtraInfo("bytes_written").(uint64)
				if moved == 0 || len(opts) == 0 && moved != uint64(16<<20-s.Output) {
					return fmt.Errorf("%d bytes written with %d bytes left", moved, s.Output)
				}
				return nil
			})
		})
		streaming(t, 64<<10, said(strings.Repeat("x", 1000), 1000), func(s *Stream) error {
			if _, err := s.Read(make([]byte, 1)); err != nil {
				return err
			}
			if got := StatsOf(s.loop).Unread; got != 999 {
				return fmt.Errorf("%d bytes unread", got)
			}
			return nil
		})
	})
	t.Run("writes from elsewhere are counted while they wait", func(t *testing.T) {
		deaf(t, nil, func(ctx context.Context, here, _ *probe, _ *[]loopnode.ExceptionContext) error {
			ref := here.t.Ref()
			must(t, ref.Write(make([]byte, 1000)))
			if got := StatsOf(here.t.Loop()).Elsewhere; got != 1000 {
				return fmt.Errorf("%d bytes from elsewhere", got)
			}
			return nil
		})
	})
}
