//go:build unix

package loopnode

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"
)

func raise(t testing.TB, sig syscall.Signal) {
	t.Helper()
	must(t, syscall.Kill(syscall.Getpid(), sig))
}

// runUntilStopped runs l; a loop that nobody stops fails the test.
func runUntilStopped(t testing.TB, l *Loop) {
	t.Helper()
	late := l.CallLater(20*time.Second, func() { t.Error("nothing stopped the loop for 20 seconds"); l.Stop() })
	defer late.Cancel()
	must(t, l.RunForever())
}

// seen waits until the process got sig: an ordinary channel got it too.
func seen(t testing.TB, ch <-chan os.Signal) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(20 * time.Second):
		t.Fatal("the process did not get the signal for 20 seconds")
	}
}

// queued waits until a call of sig's handler is queued.
func queued(t testing.TB, l *Loop, sig syscall.Signal) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); !l.signals[sig].queued.Load(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%v did not reach the loop for 20 seconds", sig)
		}
	}
}

func TestSignals(t *testing.T) {
	const usr1, usr2 = syscall.SIGUSR1, syscall.SIGUSR2
	witness := make(chan os.Signal, 100) // also keeps stray signals from ending the process
	signal.Notify(witness, usr1, usr2)
	defer signal.Stop(witness)

	t.Run("SIG-01 a handler is an ordinary callback and wakes a sleeping loop", func(t *testing.T) {
		l, log := newLoop(t)
		var trace []string
		must(t, l.AddSignalHandler(usr1, func() {
			trace = append(trace, "handler")
			if !l.here() {
				t.Error("the handler runs elsewhere")
			}
			l.CallSoon(l.Stop)
		}))
		l.CallSoon(func() {
			raise(t, usr1)
			seen(t, witness)
			queued(t, l, usr1) // the delivery is complete, and still
			trace = append(trace, "callback goes on")
		})
		runUntilStopped(t, l)
		same(t, trace, []string{"callback goes on", "handler"})

		trace = nil // nothing is ready now: the loop sleeps when the signal comes
		asleep := time.AfterFunc(50*time.Millisecond, func() { _ = syscall.Kill(syscall.Getpid(), usr1) })
		defer asleep.Stop()
		runUntilStopped(t, l)
		same(t, trace, []string{"handler"})

		must(t, l.AddSignalHandler(usr2, func() { l.CallSoon(l.Stop); panic("from the handler") }))
		raise(t, usr2)
		runUntilStopped(t, l)
		if !strings.Contains(log.String(), "Exception in callback") || !strings.Contains(log.String(), "from the handler") {
			t.Errorf("the panic is not reported: %s", log)
		}
		raise(t, usr1) // the loop goes on
		runUntilStopped(t, l)
		same(t, trace, []string{"handler", "handler"})
	})

	t.Run("SIG-02 quick deliveries run the handler at least once, and merge instead of piling up", func(t *testing.T) {
		l, _ := newLoop(t)
		calls := 0
		quiet := l.CallSoon(func() {}).Cancel // ends the run 50 ms after the last call, and no run after that
		must(t, l.AddSignalHandler(usr1, func() {
			calls++
			quiet()
			quiet = l.CallLater(50*time.Millisecond, l.Stop).Cancel
		}))
		for range 3 {
			raise(t, usr1)
			seen(t, witness)
		}
		runUntilStopped(t, l)
		if calls < 1 || calls > 3 {
			t.Errorf("3 signals, %d calls", calls)
		}
		calls = 0
		l.CallSoon(func() { // a busy loop and a storm
			for range 1000 {
				raise(t, usr1)
			}
			seen(t, witness)
		})
		runUntilStopped(t, l)
		// One while the callback ran, then one for each place between kernel and
		// loop where a signal can wait: a handful, not a thousand.
		if calls < 1 || calls > 10 {
			t.Errorf("a storm during one callback queued %d calls", calls)
		}
		drainSignals(witness)
	})

	t.Run("SIG-03 a second handler replaces the first, also for what is queued", func(t *testing.T) {
		l, _ := newLoop(t)
		var trace []string
		must(t, l.AddSignalHandler(usr1, func() { trace = append(trace, "first") }))
		raise(t, usr1)
		seen(t, witness)
		must(t, l.AddSignalHandler(usr1, func() { trace = append(trace, "second"); l.Stop() }))
		runUntilStopped(t, l)
		same(t, trace, []string{"second"})

		raise(t, usr1)
		queued(t, l, usr1)
		if !l.RemoveSignalHandler(usr1) {
			t.Error("nothing to remove")
		}
		runTurns(t, l, 3)
		same(t, trace, []string{"second"})
		drainSignals(witness)
	})

	t.Run("SIG-04 bad signals and handlers are refused", func(t *testing.T) {
		l, _ := newLoop(t)
		for _, c := range []struct {
			sig  os.Signal
			fn   func()
			want error
		}{
			{nil, func() {}, ErrInvalidArgument},
			{otherSignal{}, func() {}, ErrInvalidArgument},
			{syscall.Signal(0), func() {}, ErrInvalidArgument},
			{syscall.Signal(-1), func() {}, ErrInvalidArgument},
			{lastSignal + 1, func() {}, ErrInvalidArgument},
			{usr1, nil, ErrInvalidArgument},
			{syscall.SIGKILL, func() {}, ErrUncatchable},
			{syscall.SIGSTOP, func() {}, ErrUncatchable},
			{syscall.SIGSEGV, func() {}, ErrUncatchable},
		} {
			isErr(t, l.AddSignalHandler(c.sig, c.fn), c.want)
		}
		err := l.AddSignalHandler(syscall.SIGKILL, func() {})
		if !strings.Contains(err.Error(), fmt.Sprintf("signal %d", int(syscall.SIGKILL))) {
			t.Errorf("the error does not name the signal: %v", err)
		}
		if len(l.signals) != 0 || signalOwners.taken(usr1) {
			t.Error("a refusal left something behind")
		}
		must(t, l.Close())
		isErr(t, l.AddSignalHandler(usr1, func() {}), ErrLoopClosed)
	})

	t.Run("SIG-05 one owner per signal, and only the loop itself installs", func(t *testing.T) {
		a := runAside(t)
		b, _ := newLoop(t)
		isErr(t, a.AddSignalHandler(usr1, func() {}), ErrWrongGoroutine)
		added := make(chan error, 1)
		must(t, a.post(func() { added <- a.AddSignalHandler(usr1, func() {}) }))
		must(t, <-added)
		if a.RemoveSignalHandler(usr1) {
			t.Error("removed from elsewhere")
		}
		err := b.AddSignalHandler(usr1, func() {})
		isErr(t, err, ErrBusy)
		if !strings.Contains(err.Error(), a.Name()) {
			t.Errorf("the error does not name the owner: %v", err)
		}
		if b.RemoveSignalHandler(usr1) {
			t.Error("a loop removed another one's handler")
		}
		removed := make(chan bool, 1)
		must(t, a.post(func() { removed <- a.RemoveSignalHandler(usr1) }))
		if !<-removed {
			t.Error("the owner could not remove it")
		}
		must(t, b.AddSignalHandler(usr1, func() {}))
	})

	t.Run("SIG-06 removing tells whether there was a handler", func(t *testing.T) {
		l, _ := newLoop(t)
		must(t, l.AddSignalHandler(usr1, func() { t.Error("called after it was removed") }))
		for i, want := range []bool{true, false} {
			if got := l.RemoveSignalHandler(usr1); got != want {
				t.Errorf("removal %d = %v", i+1, got)
			}
		}
		for _, sig := range []os.Signal{usr2, syscall.SIGKILL, syscall.Signal(0), lastSignal + 1, otherSignal{}} {
			if l.RemoveSignalHandler(sig) {
				t.Errorf("%v was removed", sig)
			}
		}
		raise(t, usr1)
		seen(t, witness) // other channels of the program keep what they have
		runTurns(t, l, 3)

		signal.Ignore(syscall.SIGWINCH)
		defer signal.Reset(syscall.SIGWINCH)
		must(t, l.AddSignalHandler(syscall.SIGWINCH, func() {}))
		if signal.Ignored(syscall.SIGWINCH) || !l.RemoveSignalHandler(syscall.SIGWINCH) || !signal.Ignored(syscall.SIGWINCH) {
			t.Error("an ignored signal is not ignored again")
		}
		for _, sig := range []string{"term", "int"} {
			if got := childEnds(t, "removed-"+sig); got != signalsByName[sig] {
				t.Errorf("%s after its handler was removed: the child ended with %v", sig, got)
			}
		}
	})

	t.Run("SIG-07 a failed installation leaves nothing, and neither does the last removal", func(t *testing.T) {
		a, _ := newLoop(t)
		b, _ := newLoop(t)
		must(t, a.AddSignalHandler(usr1, func() {}))
		isErr(t, b.AddSignalHandler(usr1, func() {}), ErrBusy)
		if len(b.signals) != 0 || signalOwners.claim(usr1, b) != a {
			t.Error("the refused loop is registered")
		}
		over := a.signals[usr1].over
		a.RemoveSignalHandler(usr1)
		within(t, "forwarder", over)
		if signalOwners.taken(usr1) {
			t.Error("the signal still has an owner")
		}
	})

	t.Run("SIG-08 closing the loop removes every handler", func(t *testing.T) {
		l, _ := newLoop(t)
		must(t, l.AddSignalHandler(usr1, func() { t.Error("called after Close") }))
		must(t, l.AddSignalHandler(usr2, func() { t.Error("called after Close") }))
		overs := []chan struct{}{l.signals[usr1].over, l.signals[usr2].over}
		must(t, l.Close())
		for _, over := range overs {
			within(t, "forwarder", over)
		}
		if signalOwners.taken(usr1) || signalOwners.taken(usr2) || l.RemoveSignalHandler(usr1) {
			t.Error("a closed loop owns a signal")
		}
		raise(t, usr1)
		seen(t, witness) // who listened before the loop still does
		if got := childEnds(t, "closed-term"); got != syscall.SIGTERM {
			t.Errorf("SIGTERM after Close: the child ended with %v", got)
		}
	})

	t.Run("SIG-09 SIGINT leaves the run between two callbacks, and the loop runs again", func(t *testing.T) {
		if got := childEnds(t, "run-int"); got != syscall.SIGINT { // the parent sends it
			t.Errorf("a bare loop without a handler: the child ended with %v", got)
		}
		l, _ := newLoop(t)
		must(t, l.AddSignalHandler(syscall.SIGINT, func() { panic(Fatal(ErrInterrupted)) }))
		for range 2 {
			whole := false
			l.CallSoon(func() {
				raise(t, syscall.SIGINT)
				queued(t, l, syscall.SIGINT)
				whole = true
			})
			isErr(t, l.RunForever(), ErrInterrupted)
			if !whole {
				t.Error("the callback was cut short")
			}
		}
		l.RemoveSignalHandler(syscall.SIGINT)
		err := Run(context.Background(), func(ctx context.Context) error {
			raise(t, syscall.SIGINT)
			return Sleep(ctx, 20*time.Second)
		})
		isErr(t, err, ErrInterrupted)
	})

	t.Run("SIGINT belongs to the handler when Run's loop has one", func(t *testing.T) {
		err := Run(context.Background(), func(ctx context.Context) error {
			l, err := Running(ctx)
			must(t, err)
			got := NewFuture[int](l)
			must(t, l.AddSignalHandler(os.Interrupt, func() { _ = got.SetResult(1) }))
			raise(t, syscall.SIGINT)
			if _, err := got.Await(ctx); err != nil {
				return err
			}
			return Sleep(ctx, 20*time.Millisecond) // Run's own handler would cancel this
		})
		must(t, err)
	})

	t.Run("SIG-10 SIGCHLD may be handled", func(t *testing.T) {
		l, _ := newLoop(t)
		must(t, l.AddSignalHandler(syscall.SIGCHLD, l.Stop))
		cmd := exec.Command("true")
		must(t, cmd.Start())
		runUntilStopped(t, l)
		must(t, cmd.Wait())
		if !l.RemoveSignalHandler(syscall.SIGCHLD) {
			t.Error("it was not registered")
		}
	})

	t.Run("SIG-11 a child starts with default dispositions and its signals stay its own", func(t *testing.T) {
		l, _ := newLoop(t)
		must(t, l.AddSignalHandler(syscall.SIGTERM, func() { t.Error("the parent's handler ran") }))
		if got := childEnds(t, "plain-term"); got != syscall.SIGTERM {
			t.Errorf("the child ended with %v", got)
		}
		runTurns(t, l, 3)
		if l.signals[syscall.SIGTERM].queued.Load() {
			t.Error("the child's signal reached the parent")
		}
	})
}

type otherSignal struct{}

func (otherSignal) Signal()        {}
func (otherSignal) String() string { return "other" }

func drainSignals(ch chan os.Signal) {
	for {
		select {
		case <-ch:
		default:
			return
		}
	}
}

const childKey = "LOOPMESH_TEST_SIGNAL_CHILD"

var signalsByName = map[string]syscall.Signal{"term": syscall.SIGTERM, "int": syscall.SIGINT}

// childEnds runs this program again in the given mode, sends it the signal of
// that mode once it says that it is ready, and tells what signal ended it.
func childEnds(t *testing.T, mode string) syscall.Signal {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestSignalChild$")
	cmd.Env = append(os.Environ(), childKey+"="+mode)
	out, err := cmd.StdoutPipe()
	must(t, err)
	// Why: a program started by nohup ignores SIGINT, and so would the child. A
	// signal that is handled here has its default action in the child after exec.
	handled := make(chan os.Signal, 1)
	signal.Notify(handled, syscall.SIGINT)
	defer signal.Stop(handled)
	must(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "ready\n" {
		t.Errorf("child says %q, %v", line, err)
	}
	must(t, cmd.Process.Signal(signalsByName[mode[strings.LastIndex(mode, "-")+1:]]))
	_, _ = io.Copy(io.Discard, out)
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) {
		t.Fatalf("the child was not ended by a signal: %v", err)
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() {
		t.Fatalf("the child was not ended by a signal: %v", exit)
	}
	return status.Signal()
}

// TestSignalChild is the other process of TestSignals; alone it does nothing.
func TestSignalChild(t *testing.T) {
	mode := os.Getenv(childKey)
	if mode == "" {
		return
	}
	what, name, _ := strings.Cut(mode, "-")
	sig := signalsByName[name]
	l, _ := newLoop(t)
	switch what {
	case "removed":
		must(t, l.AddSignalHandler(sig, func() {}))
		l.RemoveSignalHandler(sig)
	case "closed":
		must(t, l.AddSignalHandler(sig, func() {}))
		must(t, l.Close())
	case "run":
		l.CallSoon(func() { fmt.Println("ready") })
		l.CallLater(20*time.Second, l.Stop)
		must(t, l.RunForever())
		return
	}
	fmt.Println("ready")
	<-time.After(20 * time.Second)
}
