//go:build unix

package conformance

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/loopnode/tasksync"
)

func TestGoldenSignals(t *testing.T) {
	t.Run("signal handlers run on the loop, replaced, failing, removed", func(t *testing.T) {
		golden(t, "g17_signals", signalling)
	})
}

func signalling(t *testing.T, say func(...any)) {
	inTask(t, func(ctx context.Context, l *loopnode.Loop) error {
		var news tasksync.Event
		handler := func(name string) func() {
			return func() { say("handler", name); news.Set() }
		}
		send := func(sig syscall.Signal) {
			news.Clear()
			err := syscall.Kill(os.Getpid(), sig)
			say("sent")
			if err := errors.Join(err, news.Wait(ctx)); err != nil {
				t.Error(err)
			}
		}
		handle := func(sig syscall.Signal, fn func()) {
			if err := l.AddSignalHandler(sig, fn); err != nil {
				t.Fatal(err)
			}
		}
		say("-- one after the other")
		handle(syscall.SIGUSR1, handler("one"))
		handle(syscall.SIGUSR2, handler("two"))
		send(syscall.SIGUSR2)
		send(syscall.SIGUSR1)

		say("-- it wakes a loop that sleeps")
		task := loopnode.CreateTask(ctx, "", noResult(func(ctx context.Context) error { return loopnode.Sleep(ctx, long) }))
		handle(syscall.SIGUSR1, func() { say("wakes"); task.Cancel() })
		if err := syscall.Kill(os.Getpid(), syscall.SIGUSR1); err != nil {
			return err
		}
		if _, _, err := loopnode.Wait(ctx, []loopnode.Waiter{task}); err != nil {
			return err
		}
		say("cancelled:", pythonBool(task.Cancelled()))

		say("-- replaced")
		handle(syscall.SIGUSR1, handler("new"))
		send(syscall.SIGUSR1)

		say("-- a handler that fails")
		boom := errors.New("boom")
		l.SetExceptionHandler(func(_ *loopnode.Loop, ec loopnode.ExceptionContext) {
			if errors.Is(ec.Exception, boom) {
				say("reported:", boom)
			}
			news.Set()
		})
		handle(syscall.SIGUSR1, func() { panic(boom) })
		send(syscall.SIGUSR1)
		handle(syscall.SIGUSR1, handler("still here"))
		send(syscall.SIGUSR1)

		say("-- removed")
		say("removed:", pythonBool(l.RemoveSignalHandler(syscall.SIGUSR1)))
		say("again:", pythonBool(l.RemoveSignalHandler(syscall.SIGUSR1)))
		send(syscall.SIGUSR2)
		say("removed:", pythonBool(l.RemoveSignalHandler(syscall.SIGUSR2)))

		say("-- refused")
		for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP} {
			if errors.Is(l.AddSignalHandler(sig, func() {}), loopnode.ErrUncatchable) {
				say("cannot be caught")
			}
		}
		if errors.Is(l.AddSignalHandler(syscall.Signal(99), func() {}), loopnode.ErrInvalidArgument) {
			say("no signal")
		}
		return nil
	})
}
