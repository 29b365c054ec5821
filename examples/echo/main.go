// Command echo is a TCP server that sends back what it gets, twice: as a
// protocol, which is called, and as a stream, which waits.
//
//	go run ./examples/echo 127.0.0.1:7000 127.0.0.1:7001
//	printf 'hello\n' | nc -N 127.0.0.1 7000
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

func main() {
	at := []string{"127.0.0.1:7000", "127.0.0.1:7001"}
	switch len(os.Args) {
	case 1:
	case 3:
		at = os.Args[1:]
	default:
		fmt.Fprintln(os.Stderr, "usage: echo [host:port host:port]")
		os.Exit(2)
	}
	if err := run(context.Background(), at[0], at[1], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1)
	}
}

// echo is a connection. While the client reads too slowly, it is not read from.
type echo struct{ t transportactors.Transport }

func (e *echo) ConnectionMade(t transportactors.Transport) { e.t = t }
func (e *echo) DataReceived(data []byte)                   { _ = e.t.Write(data) } // a lost connection tells ConnectionLost
func (e *echo) PauseWriting()                              { _ = e.t.PauseReading() }
func (e *echo) ResumeWriting()                             { _ = e.t.ResumeReading() }
func (e *echo) ConnectionLost(error)                       {}

// copyBack is the same as straight code: a Stream is an io.ReadWriter.
func copyBack(_ context.Context, s *transportactors.Stream) error {
	_, err := io.Copy(s, struct{ io.Reader }{s})
	return err
}

func stop(s *transportactors.Server) {
	s.Close()
	s.AbortClients()
}

// run serves until ctx ends or the program is interrupted.
func run(ctx context.Context, protocolAt, streamAt string, out io.Writer) error {
	err := loopnode.Run(ctx, func(ctx context.Context) error {
		called, err := transportactors.CreateServer(ctx, func() transportactors.Protocol { return &echo{} }, "tcp", protocolAt)
		if err != nil {
			return err
		}
		defer stop(called)
		waiting, err := transportactors.StartServer(ctx, copyBack, "tcp", streamAt)
		if err != nil {
			return err
		}
		defer stop(waiting)
		fmt.Fprintln(out, "protocol on", called.Addrs()[0])
		fmt.Fprintln(out, "stream on", waiting.Addrs()[0])
		return loopnode.WaitDone(ctx)
	})
	if errors.Is(err, loopnode.ErrCancelled) || errors.Is(err, loopnode.ErrInterrupted) {
		return nil
	}
	return err
}
