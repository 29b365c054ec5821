// Package serve holds the echo servers that are compared.
package serve

import (
	"context"
	"fmt"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

// echo writes back what it reads, and does not read while its client does not.
type echo struct{ t transportactors.Transport }

func (e *echo) ConnectionMade(t transportactors.Transport) { e.t = t }
func (e *echo) DataReceived(b []byte)                      { _ = e.t.Write(b) } // a closed one hears ConnectionLost
func (e *echo) PauseWriting()                              { _ = e.t.PauseReading() }
func (e *echo) ResumeWriting()                             { _ = e.t.ResumeReading() }
func (e *echo) ConnectionLost(error)                       {}

// Loopmesh echoes on one loop, by a protocol.
func Loopmesh(address string) error {
	return loopnode.Run(context.Background(), func(ctx context.Context) error {
		return serve(ctx)(transportactors.CreateServer(ctx, func() transportactors.Protocol { return &echo{} }, "tcp", address, transportactors.WithBacklog(1024)))
	})
}

// LoopmeshStream echoes on one loop, with a task for each connection.
func LoopmeshStream(address string) error {
	return loopnode.Run(context.Background(), func(ctx context.Context) error {
		return serve(ctx)(transportactors.StartServer(ctx, func(_ context.Context, s *transportactors.Stream) error {
			b := make([]byte, 64<<10)
			for {
				n, err := s.Read(b)
				if err != nil {
					return nil // the end, or a reset, which is the load's way to end
				}
				if _, err := s.Write(b[:n]); err != nil {
					return nil
				}
			}
		}, "tcp", address, transportactors.WithBacklog(1024)))
	})
}

func serve(ctx context.Context) func(*transportactors.Server, error) error {
	return func(s *transportactors.Server, err error) error {
		if err != nil {
			return err
		}
		fmt.Println(s.Addrs()[0])
		return s.ServeForever(ctx)
	}
}
