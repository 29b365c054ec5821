// Command loopmesh (built from cmd/node) runs nodes and shows what they do: start
// and dev run nodes; ls, status, loop, func and conn send requests to the admin
// socket of a running node, package admin.
//
// stdout carries data only, stderr everything else. Every command returns one of
// the exit codes of exit.go, and every error says what failed, why, and what to
// do.
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
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	// The first signal ends ctx, so that the command shuts down in order; the
	// second one ends the process at once, whatever the command waits for. A
	// closed terminal (SIGHUP) counts like Ctrl-C.
	//
	// goroutine: owner: main; ends with the process
	go func() {
		<-signals
		cancel()
		<-signals
		os.Exit(exitInterrupted)
	}()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the whole program without its process: it returns the exit code, writes to
// out and errs only, and when ctx ends, the command shuts down in order and run
// returns. Tests call it in place of a process. All state is in the command that it
// builds, so runs do not see each other.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	root := newRoot(out, errs)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	return printError(errs, cmd, err)
}
