package transportactors_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

// A task gives a program its input and takes its output.
func ExampleCreateSubprocessExec() {
	err := loopnode.Run(context.Background(), func(ctx context.Context) error {
		p, err := transportactors.CreateSubprocessExec(ctx, []string{"sort"},
			transportactors.WithStdin(transportactors.StdioPipe), transportactors.WithStdout(transportactors.StdioPipe))
		if err != nil {
			return err
		}
		defer p.Close() // kills it if something goes wrong
		out, _, err := p.Communicate(ctx, []byte("pear\napple\n"))
		if err != nil {
			return err
		}
		code, _ := p.Returncode()
		fmt.Printf("%d %s", code, out)
		return nil
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// A server that is started again when it fails, after 1, 2, 4 … seconds, at most
// five times a minute.
func ExampleProcessSupervision() {
	server := transportactors.ProcessSupervision{
		Strategy: actors.Strategy{
			Restart: actors.Transient, Intensity: 5, Period: time.Minute,
			Backoff: actors.Backoff{Min: time.Second, Max: 30 * time.Second, Jitter: 0.2},
		},
		Start: func(ctx context.Context) (*transportactors.Process, error) {
			return transportactors.CreateSubprocessExec(ctx, []string{"my-server", "--port", "8080"}, transportactors.WithGroupKill())
		},
		OnEvent: func(e transportactors.ProcessEvent) { fmt.Println(e.Kind, e.Pid, e.Err) },
	}
	err := loopnode.Run(context.Background(), func(ctx context.Context) error { return server.Run(ctx) })
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// echo tells what comes in on stdin.
type echo struct{ done *loopnode.Future[error] }

func (e *echo) ConnectionMade(transportactors.Transport) {}
func (e *echo) DataReceived(data []byte)                 { fmt.Printf("%q\n", data) }
func (e *echo) ConnectionLost(reason error)              { _ = e.done.SetResult(reason) }

// Standard input on the loop: nothing blocks, and a terminal stays as it is for
// those who share it.
func ExampleConnectReadPipe() {
	err := loopnode.Run(context.Background(), func(ctx context.Context) error {
		l, err := loopnode.Running(ctx)
		if err != nil {
			return err
		}
		_, e, err := transportactors.ConnectReadPipe(ctx, func() *echo { return &echo{loopnode.NewFuture[error](l)} }, os.Stdin)
		if err != nil {
			return err
		}
		_, err = e.done.Await(ctx)
		return err
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}
