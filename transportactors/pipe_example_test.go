package transportactors_test

import (
	"context"
	"fmt"
	"os"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

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
