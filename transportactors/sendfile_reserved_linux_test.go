package transportactors

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/loopnode"
)

// TestSendfileBesideABusyPool: users' functions that all wait do not keep a file
// from being read for a connection.
func TestSendfileBesideABusyPool(t *testing.T) {
	for _, s := range senders {
		t.Run(s.name, func(t *testing.T) {
			gate := make(chan struct{})
			must(t, loopnode.Run(context.Background(), func(ctx context.Context) error {
				defer close(gate)
				text := sendPattern(300 << 10)
				p := newProbe(ctx)
				tr, c, err := s.connect(ctx, p)
				if err != nil {
					return err
				}
				loopnode.RunInExecutor(ctx, nil, func() (int, error) { <-gate; return 0, nil })
				got := loopnode.NewSafeFuture[int]()
				// goroutine: owner: the test; ends with the connection.
				go func(c net.Conn) {
					defer c.Close()
					n, _ := io.ReadFull(c, make([]byte, len(text)))
					_ = got.SetResult(n)
				}(c)
				return loopnode.Timeout(ctx, 20*time.Second, func(ctx context.Context) error {
					if n, err := Sendfile(ctx, tr, s.source(t, text), 0, loopnode.ToEnd); n != int64(len(text)) || err != nil {
						t.Error(n, err)
					}
					if n, err := loopnode.WrapFuture(ctx, got).Await(ctx); n != len(text) || err != nil {
						t.Error(n, err)
					}
					tr.Close()
					return p.wait(ctx)
				})
			}, loopnode.WithConfig(loopnode.Config{MaxWorkers: 1, Logger: hclog.NewNullLogger()})))
		})
	}
}
