package transportactors_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
	"github.com/loopmesh/loopmesh/transportactors/transporttest"
)

func TestContract(t *testing.T) {
	t.Run("tcp", func(t *testing.T) {
		transporttest.Run(t, transporttest.Kind{HalfClose: true, Pair: func(ctx context.Context, here, there transportactors.Protocol) error {
			return connected(ctx, "tcp", "127.0.0.1:0", here, there)
		}})
	})
	t.Run("unix", func(t *testing.T) {
		dir, n := t.TempDir(), 0
		transporttest.Run(t, transporttest.Kind{HalfClose: true, Room: 2 << 20, Pair: func(ctx context.Context, here, there transportactors.Protocol) error {
			n++
			return connected(ctx, "unix", fmt.Sprintf("%s/%d", dir, n), here, there)
		}})
	})
}

// connected makes a client here and a server's connection there; the server is
// gone again when it returns.
func connected(ctx context.Context, network, address string, here, there transportactors.Protocol, opts ...transportactors.ServerOption) error {
	l, err := loopnode.Running(ctx)
	if err != nil {
		return err
	}
	accepted := loopnode.NewFuture[struct{}](l)
	s, err := transportactors.CreateServer(ctx, func() transportactors.Protocol {
		_ = accepted.SetResult(struct{}{})
		return there
	}, network, address, opts...)
	if err != nil {
		return err
	}
	defer s.Close()
	if _, _, err := transportactors.CreateConnection(ctx, func() transportactors.Protocol { return here }, network, s.Addrs()[0].String()); err != nil {
		return err
	}
	_, err = accepted.Await(ctx)
	return err
}
