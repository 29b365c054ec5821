package transportactors

import (
	"context"
	"io"
	"net"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/loopnode"
)

// BenchmarkEcho is one round trip of 64 bytes between a net client and a
// protocol on a loop.
func BenchmarkEcho(b *testing.B) {
	l, err := loopnode.New(loopnode.Config{Logger: hclog.NewNullLogger()})
	must(b, err)
	address, ended := make(chan string), make(chan error, 1)
	go func() {
		_, err := loopnode.RunUntilComplete(l, loopnode.CreateTask(l.Context(context.Background()), "serve", func(ctx context.Context) (int, error) {
			s, err := CreateServer(ctx, func() Protocol { return &echoes{} }, "tcp", "127.0.0.1:0")
			if err != nil {
				return 0, err
			}
			address <- s.Addrs()[0].String()
			return 0, s.ServeForever(ctx)
		}))
		_ = l.Close()
		ended <- err
	}()
	c, err := net.Dial("tcp", <-address)
	must(b, err)
	message := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(message); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, message); err != nil {
			b.Fatal(err)
		}
	}
	must(b, c.Close())
	must(b, l.Ref().Stop())
	<-ended
}

type echoes struct{ t Transport }

func (e *echoes) ConnectionMade(t Transport) { e.t = t }
func (e *echoes) DataReceived(p []byte)      { _ = e.t.Write(p) }
func (e *echoes) ConnectionLost(error)       {}
