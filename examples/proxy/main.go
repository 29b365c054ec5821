// Command proxy forwards TCP connections to another address. Back pressure goes
// both ways: while one side takes nothing, the other is not read from, so a slow
// reader costs two buffers and not the whole transfer. The end of the input is
// passed on as it is, and the other direction goes on.
//
//	go run ./examples/proxy 127.0.0.1:8080 example.com:80
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
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: proxy LISTEN-ADDRESS TARGET-ADDRESS")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Args[1], os.Args[2], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "proxy:", err)
		os.Exit(1)
	}
}

// run forwards until ctx ends or the program is interrupted.
func run(ctx context.Context, at, target string, out io.Writer) error {
	err := loopnode.Run(ctx, func(ctx context.Context) error {
		s, err := transportactors.CreateServer(ctx, func() transportactors.Protocol { return &front{ctx: ctx, target: target} }, "tcp", at)
		if err != nil {
			return err
		}
		defer s.AbortClients()
		defer s.Close()
		fmt.Fprintln(out, "forwarding from", s.Addrs()[0])
		return loopnode.WaitDone(ctx) // ServeForever would wait for the clients to leave
	})
	if errors.Is(err, loopnode.ErrCancelled) || errors.Is(err, loopnode.ErrInterrupted) {
		return nil
	}
	return err
}

// half is one of the two connections of a forwarding.
type half struct {
	t     transportactors.Transport
	other *half
	eof   bool
}

func (h *half) ConnectionMade(t transportactors.Transport) { h.t = t }
func (h *half) DataReceived(b []byte)                      { _ = h.other.t.Write(b) } // it is closed: so are we, soon
func (h *half) PauseWriting()                              { _ = h.other.t.PauseReading() }
func (h *half) ResumeWriting()                             { _ = h.other.t.ResumeReading() }

// EOFReceived passes the end on; the connection stays until both sides have
// ended.
func (h *half) EOFReceived() (keepOpen bool) {
	h.eof = true
	_ = h.other.t.WriteEOF()
	return !h.other.eof
}

// ConnectionLost ends the other side: in order behind what it still has to
// send, or, when this side broke, as broken.
func (h *half) ConnectionLost(reason error) {
	switch {
	case h.other == nil:
	case reason != nil:
		h.other.t.Abort()
	default:
		h.other.t.Close()
	}
}

// front is the client's side, until the target is connected.
type front struct {
	half
	ctx    context.Context
	target string
	dial   *loopnode.Task[struct{}]
}

// ConnectionMade reads nothing until there is somewhere to send it.
func (f *front) ConnectionMade(t transportactors.Transport) {
	f.t = t
	_ = t.PauseReading()
	f.dial = loopnode.CreateTask(f.ctx, "dial "+f.target, func(ctx context.Context) (struct{}, error) {
		_, back, err := transportactors.CreateConnection(ctx, func() *half { return &half{other: &f.half} }, "tcp", f.target)
		if err != nil {
			t.Abort()
			return struct{}{}, err // unseen, so the loop's exception handler logs it
		}
		f.other = back
		return struct{}{}, t.ResumeReading()
	})
}

// ConnectionLost also gives up a target that is still being dialled.
func (f *front) ConnectionLost(reason error) {
	f.dial.Cancel()
	f.half.ConnectionLost(reason)
}
