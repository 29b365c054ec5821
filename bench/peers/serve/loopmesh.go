// Package serve holds the echo servers that are compared.
package serve

import (
	"context"
	"fmt"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

// echo writes back what it reads.
type echo struct{ t transportactors.Transport }

func (e *echo) ConnectionMade(t transportactors.Transport) { e.t = t }
func (e *echo) DataReceived(b []byte)                      { _ = e.t.Write(b) } // a closed one hears ConnectionLost
func (e *echo) ConnectionLost(error)                       {}

// Loopmesh echoes on one loop.
func Loopmesh(address string) error {
	return loopnode.Run(context.Background(), func(ctx context.Context) error {
		s, err := transportactors.CreateServer(ctx, func() transportactors.Protocol { return &echo{} }, "tcp", address, transportactors.WithBacklog(1024))
		if err != nil {
			return err
		}
		fmt.Println(s.Addrs()[0])
		return s.ServeForever(ctx)
	})
}
