// Command loopmesh (built from cmd/node) runs nodes and asks them: start and dev
// run them, ls, status, loop, func and conn ask those that run.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	// goroutine: owner: main; ends with the process
	go func() {
		<-signals
		cancel() // once: leave politely
		<-signals
		os.Exit(exitInterrupted) // twice: at once
	}()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the whole program: it returns the exit code. When ctx ends, whatever
// runs leaves politely.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	root := newRoot(out, errs)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	return complain(errs, cmd, err)
}
