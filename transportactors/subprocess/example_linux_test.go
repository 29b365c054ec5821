package subprocess_test

import (
	"context"
	"fmt"
	"os"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
	"github.com/loopmesh/loopmesh/transportactors/subprocess"
)

// A task gives a program its input and takes its output.
func ExampleExecProcess() {
	fmt.Println(loopnode.Run(context.Background(), func(ctx context.Context) error {
		p, err := subprocess.ExecProcess(ctx, []string{"sort"},
			subprocess.WithStdin(subprocess.Pipe), subprocess.WithStdout(subprocess.Pipe))
		if err != nil {
			return err
		}
		defer p.Close() // kills it if something goes wrong
		out, _, err := p.Communicate(ctx, []byte("pear\napple\n"))
		if err != nil {
			return err
		}
		code, _ := p.Returncode()
		fmt.Printf("code %d\n%s", code, out)
		return nil
	}))
	// Output:
	// code 0
	// apple
	// pear
	// <nil>
}

// A shell command whose output is read line by line while it runs.
func ExampleShellProcess() {
	fmt.Println(loopnode.Run(context.Background(), func(ctx context.Context) error {
		p, err := subprocess.ShellProcess(ctx, "echo one; echo two", subprocess.WithStdout(subprocess.Pipe))
		if err != nil {
			return err
		}
		defer p.Close()
		for {
			line, err := p.Stdout.ReadLine()
			if err != nil { // io.EOF at the end
				break
			}
			fmt.Printf("it says %s", line)
		}
		_, err = p.Wait(ctx)
		return err
	}))
	// Output:
	// it says one
	// it says two
	// <nil>
}

// capitals gives a child its input and prints what comes back.
type capitals struct {
	subprocess.BaseProtocol
	over *loopnode.Future[error]
}

func (c *capitals) ConnectionMade(t subprocess.Transport) {
	in := t.PipeTransport(0)
	_ = in.Write([]byte("louder\n")) // a child that does not read: PipeConnectionLost tells
	in.Close()
}

func (c *capitals) PipeDataReceived(_ int, data []byte) { fmt.Printf("%s", data) }
func (c *capitals) ConnectionLost(reason error)         { _ = c.over.SetResult(reason) }

// A child whose protocol is called by the loop.
func ExampleExecProtocol() {
	fmt.Println(loopnode.Run(context.Background(), func(ctx context.Context) error {
		l, err := loopnode.Running(ctx)
		if err != nil {
			return err
		}
		t, p, err := subprocess.ExecProtocol(ctx, func() *capitals { return &capitals{over: loopnode.NewFuture[error](l)} },
			[]string{"tr", "a-z", "A-Z"}, subprocess.WithStderr(subprocess.DevNull))
		if err != nil {
			return err
		}
		_, err = p.over.Await(ctx)
		code, _ := t.Returncode()
		fmt.Println("code", code)
		return err
	}))
	// Output:
	// LOUDER
	// code 0
	// <nil>
}

// A pipe of this process as a child's standard output, without a copy in between.
func ExampleFile() {
	r, w, _ := os.Pipe()
	fmt.Println(loopnode.Run(context.Background(), func(ctx context.Context) error {
		p, err := subprocess.ExecProcess(ctx, []string{"echo", "through a pipe"}, subprocess.WithStdout(subprocess.File(w)))
		_ = w.Close() // the child has it
		if err != nil {
			return err
		}
		defer p.Close()
		_, out, err := transportactors.ConnectReadPipe(ctx, func() *transportactors.StreamProtocol { return &transportactors.StreamProtocol{} }, r)
		if err != nil {
			return err
		}
		line, err := out.Stream(ctx).ReadLine()
		fmt.Printf("%s", line)
		return err
	}))
	// Output:
	// through a pipe
	// <nil>
}
