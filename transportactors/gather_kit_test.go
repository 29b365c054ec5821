package transportactors_test

import (
	"context"
	"crypto/tls"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
	"github.com/loopmesh/loopmesh/transportactors/transporttest"
)

// gatherer switches gathering on and leaves the transport to the protocol.
type gatherer struct{ transportactors.Protocol }

func (g gatherer) ConnectionMade(t transportactors.Transport) {
	_ = t.Socket().SetWriteGathering(true) // it is open
	t.SetProtocol(g.Protocol)
	g.Protocol.ConnectionMade(t)
}

// TestContractWhenGathering: gathering changes nothing that the contract of streams says.
func TestContractWhenGathering(t *testing.T) {
	t.Run("tcp", func(t *testing.T) {
		transporttest.Run(t, transporttest.Kind{HalfClose: true, Pair: func(ctx context.Context, here, there transportactors.Protocol) error {
			return connected(ctx, "tcp", "127.0.0.1:0", gatherer{here}, gatherer{there})
		}})
	})
	t.Run("tls", func(t *testing.T) {
		server, client := loopback(t)
		transporttest.Run(t, transporttest.Kind{Goodbye: true, Pair: func(ctx context.Context, here, there transportactors.Protocol) error {
			return connectedTLS(ctx, server, client, gatherer{here}, gatherer{there})
		}})
	})
}

func connectedTLS(ctx context.Context, server, client *tls.Config, here, there transportactors.Protocol) error {
	l, err := loopnode.Running(ctx)
	if err != nil {
		return err
	}
	accepted := loopnode.NewFuture[struct{}](l)
	s, err := transportactors.CreateServer(ctx, func() transportactors.Protocol {
		_ = accepted.SetResult(struct{}{})
		return there
	}, "tcp", "127.0.0.1:0", transportactors.WithTLS(server))
	if err != nil {
		return err
	}
	defer s.Close()
	if _, _, err := transportactors.CreateConnection(ctx, func() transportactors.Protocol { return here }, "tcp", s.Addrs()[0].String(), transportactors.WithTLS(client)); err != nil {
		return err
	}
	_, err = accepted.Await(ctx)
	return err
}
