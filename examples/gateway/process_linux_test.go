package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
)

// process is a gateway in a process of its own: this test binary.
type process struct {
	cmd   *exec.Cmd
	lines chan string
	at    string // of clients
}

// hub starts the NATS server that gateways join, and gives its address.
func hub(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	n, err := cluster.Start(ctx, cluster.Config{Name: "hub", Listen: "127.0.0.1:0", Logger: hclog.NewNullLogger()})
	must(t, err)
	t.Cleanup(n.Close)
	return strings.TrimPrefix(n.URL(), "nats://")
}

func spawn(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0], append([]string{asGateway}, args...)...), lines: make(chan string, 1000)}
	out, err := p.cmd.StdoutPipe()
	must(t, err)
	p.cmd.Stderr = os.Stderr
	must(t, p.cmd.Start())
	go func() {
		defer close(p.lines)
		for in := bufio.NewScanner(out); in.Scan(); {
			p.lines <- in.Text()
		}
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		for range p.lines {
		}
		_ = p.cmd.Wait()
	})
	for line := range p.lines { // a client that came at once may be told of first
		if at, ok := strings.CutPrefix(line, "clients: "); ok {
			p.at = at
			return p
		}
	}
	t.Fatalf("the gateway %q ended before it served", args)
	return p
}

// ended waits for the end of the process, which has to be in order.
func (p *process) ended(t *testing.T) {
	t.Helper()
	var said []string
	for line := range p.lines {
		said = append(said, line)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Fatalf("the gateway ended with %v; it said %q", err, said)
	}
}

// TestAnUpgradeInPlaceDropsNobody: clients connect as fast as they can while the process is
// replaced three times. Each handshake gets its welcome, and those that stay are sent away
// with 1001 and are welcome at the same address.
func TestAnUpgradeInPlaceDropsNobody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "handover")
	args := []string{"-join", hub(t), "-handover", path, "-spread", "200ms", "-address"}
	running := spawn(t, append(args, "127.0.0.1:0")...)
	at := running.at
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var load sync.WaitGroup
	var attempts, moved atomic.Int64
	for i := range 6 {
		load.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				p, err := dial(at, fmt.Sprint("short.", i, ".", n))
				if err != nil {
					t.Error("an attempt failed:", err)
					return
				}
				_ = p.Close()
				attempts.Add(1)
			}
		})
		load.Go(func() { stay(ctx, t, at, fmt.Sprint("long.", i), &moved) })
	}
	wait := newWait(t)
	const each = 500
	wait.until("attempts", func() bool { return attempts.Load() >= each })
	for i := range 3 {
		next := spawn(t, append(args, at)...)
		if next.at != at {
			t.Fatalf("the next one serves %s, the one before %s", next.at, at)
		}
		running.ended(t)
		running = next
		before := attempts.Load()
		wait.until("attempts", func() bool { return attempts.Load() >= before+each })
		wait.until("those who stay have been sent away", func() bool { return moved.Load() >= int64(6*(i+1)) })
	}
	stop()
	load.Wait()
	t.Log(attempts.Load(), "attempts,", moved.Load(), "moves of those who stay")
	if moved.Load() != 6*3 {
		t.Errorf("6 clients that stay were sent away %d times by 3 upgrades", moved.Load())
	}
}

// stay keeps a user connected, and counts how often it was sent away.
func stay(ctx context.Context, t *testing.T, at, user string, moved *atomic.Int64) {
	for ctx.Err() == nil {
		p, err := dial(at, user)
		if err != nil {
			t.Error(user, "cannot connect:", err)
			return
		}
		over := context.AfterFunc(ctx, func() { _ = p.Close() })
		for err == nil {
			_, err = p.hear()
		}
		over()
		_ = p.Close()
		var closed errClosed
		switch {
		case ctx.Err() != nil:
			return
		case !errors.As(err, &closed) || closed.code != ws.StatusGoingAway:
			t.Error(user, "was cut off:", err)
			return
		}
		moved.Add(1)
	}
}

// waiter looks again and again, for as long as a test may take.
type waiter struct {
	t        *testing.T
	deadline time.Time
	look     *time.Ticker
}

func newWait(t *testing.T) *waiter {
	w := &waiter{t, time.Now().Add(5 * time.Minute), time.NewTicker(2 * time.Millisecond)}
	t.Cleanup(w.look.Stop)
	return w
}

func (w *waiter) until(what string, ok func() bool) {
	w.t.Helper()
	for !ok() {
		if w.t.Failed() || time.Now().After(w.deadline) {
			w.t.Fatal("in vain was waited for: ", what)
		}
		<-w.look.C
	}
}

// TestARollingRestartLosesNothing: three nodes are restarted one after the other, twice, while
// users send each other messages as fast as they are accepted. What was accepted is with
// its user, once; everything is accepted in the end; everybody is back soon.
func TestARollingRestartLosesNothing(t *testing.T) {
	restartUnderLoad(t, func(p *process) {
		must(t, p.cmd.Process.Signal(syscall.SIGTERM))
		p.ended(t)
	})
}

// TestKilledNodesLoseNothing is the same with kill -9: an accepted message is on no node.
func TestKilledNodesLoseNothing(t *testing.T) {
	restartUnderLoad(t, func(p *process) {
		must(t, p.cmd.Process.Kill())
		for range p.lines { // until it has ended
		}
		_ = p.cmd.Wait() // it was killed
	})
}

func restartUnderLoad(t *testing.T, end func(*process)) {
	args := []string{"-join", hub(t), "-spread", "300ms", "-address"}
	var nodes []*process
	var addresses []string
	for range 3 {
		p := spawn(t, append(args, "127.0.0.1:0")...)
		nodes, addresses = append(nodes, p), append(addresses, p.at)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var talkers []*talker
	var running sync.WaitGroup
	for i := range 9 {
		w := newTalker(fmt.Sprint("user", i), addresses, i)
		talkers = append(talkers, w)
		running.Go(func() { w.live(ctx) })
	}
	defer running.Wait()
	defer stop()
	accepted := func() (n int) {
		for _, w := range talkers {
			n += w.accepted()
		}
		return n
	}
	sending, quiet := context.WithCancel(ctx)
	defer quiet()
	for i, w := range talkers {
		running.Go(func() { w.talk(sending, talkers[(i+1)%9].user, talkers[(i+4)%9].user) })
	}
	wait := newWait(t)
	goOn := func() {
		before := accepted()
		wait.until("messages are accepted", func() bool { return accepted() >= before+300 })
	}
	for range 2 {
		for i, p := range nodes {
			goOn()
			end(p)
			nodes[i] = spawn(t, append(args, addresses[i])...)
		}
	}
	goOn()
	quiet()
	wait.until("everything is accepted", func() bool {
		for _, w := range talkers {
			if w.open() > 0 {
				return false
			}
		}
		return true
	})
	stop()
	running.Wait()
	judge(t, talkers)
}

// judge compares what was accepted with what came.
func judge(t *testing.T, talkers []*talker) {
	t.Helper()
	came, sum, again, moves := map[string]int{}, 0, 0, 0
	longest := time.Duration(0)
	for _, w := range talkers {
		for _, text := range w.came {
			came[text]++
		}
		again, moves, longest = again+w.again, moves+w.moves, max(longest, w.longest)
	}
	for _, w := range talkers {
		for text := range w.done {
			sum++
			if n := came[text]; n != 1 {
				t.Errorf("%q was accepted and came %d times", text, n)
			}
		}
	}
	t.Logf("%d messages were accepted; %d came again and were known; %d moves, the longest took %v", sum, again, moves, longest.Round(time.Millisecond))
	if moves < 6 {
		t.Error("too few clients had to move for this test to say something")
	}
	if longest > 30*time.Second { // of less than one, on a machine that has nothing else to do
		t.Errorf("a client was away for %v", longest)
	}
}
