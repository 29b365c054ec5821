package handover

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
	"github.com/loopmesh/loopmesh/transportactors/internal/testkit"
)

// programs are started by the tests as children.
var programs = map[string]func(args []string){
	// generation NAME PATH serves until the next one does.
	"generation": func(args []string) { report(generation(args[0], args[1])) },
	// stands-still PATH takes the sockets and waits before it serves.
	"stands-still": func(args []string) { report(standStill(args[0])) },
	// activated ADDRESS serves one client on a socket of the service manager; "": all that
	// there are are taken.
	"activated": func(args []string) { report(serveActivated(args[0])) },
}

func report(err error) {
	if err != nil {
		fmt.Println("FAILED:", err)
		testkit.Quit(1)
	}
}

func generation(name, path string) error {
	return loopnode.Run(context.Background(), func(ctx context.Context) error {
		in, err := Inherit(ctx, path)
		if err != nil {
			return err
		}
		defer in.Close()
		s, err := serveAs(ctx, in, name)
		if err != nil {
			return err
		}
		if err := in.Serving(ctx); err != nil {
			return err
		}
		offer, err := Open(ctx, path, map[string]*transportactors.Server{"clients": s})
		if err != nil {
			return err
		}
		fmt.Println("serving", s.Addrs()[0])
		if _, _, err := loopnode.Recv(ctx, offer.Replaced()); err != nil {
			return err
		}
		s.Close()
		return s.WaitClosed(ctx)
	})
}

func serveActivated(address string) error {
	return loopnode.Run(context.Background(), func(ctx context.Context) error {
		network, at, socket, err := At("tcp", address)
		var names []string
		if address == "" {
			var in *Sockets
			if in, err = Inherit(ctx, ""); err == nil {
				names = in.Names()
				network, at, socket = in.Address("clients", "tcp", "127.0.0.1:0")
			}
		}
		if err != nil {
			return err
		}
		served := make(chan struct{})
		s, err := transportactors.CreateServer(ctx, func() *greeter { return &greeter{text: "activated", over: func() { close(served) }} }, network, at, socket)
		if err != nil {
			return err
		}
		fmt.Println("serving", names, "LISTEN_FDS="+os.Getenv("LISTEN_FDS"))
		if _, _, err := loopnode.Recv(ctx, served); err != nil {
			return err
		}
		s.Close()
		return s.WaitClosed(ctx)
	})
}

// process is a generation that runs.
type process struct {
	out   *bufio.Scanner
	ended func() error
}

func startGeneration(t *testing.T, name, path string) (*process, string) {
	t.Helper()
	cmd := testkit.Command(t, "generation", name, path)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }) // the last one is replaced by nobody
	p := &process{bufio.NewScanner(out), cmd.Wait}
	if !p.out.Scan() || !strings.HasPrefix(p.out.Text(), "serving ") {
		t.Fatalf("%s says %q", name, p.out.Text())
	}
	return p, strings.TrimPrefix(p.out.Text(), "serving ")
}

// TestAnUpgradeDropsNoConnectionAttempt: clients connect as fast as they can, while the
// process is replaced three times. Each of them gets its answer.
func TestAnUpgradeDropsNoConnectionAttempt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "handover")
	running, at := startGeneration(t, "g0", path)
	var mu sync.Mutex
	served := map[string]int{}
	var attempts atomic.Int64
	stop := make(chan struct{})
	var load sync.WaitGroup
	for range 8 {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				by, err := attempt(at)
				if err != nil {
					t.Error("an attempt failed:", err)
					return
				}
				mu.Lock()
				served[by]++
				mu.Unlock()
				attempts.Add(1)
			}
		})
	}
	deadline, look := time.Now().Add(patience), time.NewTicker(time.Millisecond)
	defer look.Stop()
	until := func(n int64) {
		for attempts.Load() < n && !t.Failed() && time.Now().Before(deadline) {
			<-look.C
		}
	}
	const each = 600
	until(each)
	for i := range 3 {
		next, again := startGeneration(t, fmt.Sprint("g", i+1), path)
		if again != at {
			t.Fatalf("generation %d serves at %s, the one before at %s", i+1, again, at)
		}
		if err := running.ended(); err != nil {
			t.Fatalf("generation %d ended with %v", i, err)
		}
		running = next
		until(attempts.Load() + each)
	}
	close(stop)
	load.Wait()
	t.Log(attempts.Load(), "attempts, served by", served)
	if attempts.Load() < 4*each || len(served) != 4 {
		t.Errorf("%d attempts by %d generations: the test is too short", attempts.Load(), len(served))
	}
}

// attempt connects and reads the whole answer.
func attempt(at string) (by string, err error) {
	c, err := net.DialTimeout("tcp", at, patience)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	in := bufio.NewScanner(c)
	if !in.Scan() {
		return "", fmt.Errorf("no answer: %w", in.Err())
	}
	return in.Text(), nil
}
