package names

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
	"github.com/loopmesh/loopmesh/cluster/internal/lease"
	"github.com/loopmesh/loopmesh/loopnode"
)

// live is an owner in a process of its own: while it holds the name, it says its token
// each millisecond, and 0 when it has lost it.
func live(role string) {
	ctx := context.Background()
	n, err := cluster.Start(ctx, cluster.Config{
		Name: role, Join: []string{os.Getenv(addressVariable)}, Logger: hclog.NewNullLogger(), Heartbeat: 50 * time.Millisecond, DeadAfter: deadAfter(),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if n.Inside(inside.Key{}).Lease = short; os.Getenv(leaseVariable) != "" {
		usual(n)
	}
	for {
		o, err := Acquire(ctx, n, "orders", loopnode.Ref{})
		if err != nil {
			fmt.Println(err)
			return
		}
		tick := time.NewTicker(time.Millisecond)
		for over := false; !over; {
			select {
			case <-o.Done():
				over = true
			case <-tick.C:
				if o.Held() {
					fmt.Println("token", o.Token())
				}
			}
		}
		tick.Stop()
		fmt.Println("token 0")
	}
}

// deadAfter is when membership gives up who is silent.
func deadAfter() time.Duration {
	if d, err := time.ParseDuration(os.Getenv(deadVariable)); err == nil {
		return d
	}
	return 500 * time.Millisecond
}

const (
	deadVariable  = "LOOPMESH_TEST_DEAD"
	leaseVariable = "LOOPMESH_TEST_LEASE" // not empty: leases as programs have them
)

// owner is such a process and the tokens that it said.
type owner struct {
	command *exec.Cmd
	tokens  chan uint64
}

func spawn(t *testing.T, role, address string, more ...string) *owner {
	t.Helper()
	o := &owner{command: exec.Command(os.Args[0], "-test.run=^$"), tokens: make(chan uint64, 1<<16)}
	o.command.Env = append(os.Environ(), roleVariable+"="+role, addressVariable+"="+address)
	o.command.Env = append(o.command.Env, more...)
	o.command.Stderr = os.Stderr
	out, err := o.command.StdoutPipe()
	if err == nil {
		err = o.command.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(o.tokens)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var token uint64
			if _, err := fmt.Sscanf(lines.Text(), "token %d", &token); err == nil {
				o.tokens <- token
			}
		}
	}()
	t.Cleanup(func() {
		_ = o.command.Process.Kill() // gone already is as good
		_ = o.command.Wait()
		for range o.tokens {
		}
	})
	return o
}

func (o *owner) next(t *testing.T) uint64 {
	t.Helper()
	select {
	case token, ok := <-o.tokens:
		if !ok {
			t.Fatal("the process ended")
		}
		return token
	case <-time.After(time.Minute):
		t.Fatal("no token for a minute")
	}
	return 0
}

// drain takes what has been said until now.
func (o *owner) drain() (tokens []uint64) {
	for {
		select {
		case token, ok := <-o.tokens:
			if !ok {
				return tokens
			}
			tokens = append(tokens, token)
		default:
			return tokens
		}
	}
}

func TestKillTheOwner(t *testing.T) {
	a := start(t, cluster.Config{Name: "a", StoreDir: t.TempDir(), Listen: "127.0.0.1:0"})
	address := strings.TrimPrefix(a.URL(), "nats://")
	first := spawn(t, "b", address, leaseVariable+"=usual")
	old := first.next(t)
	second := spawn(t, "c", address, leaseVariable+"=usual")
	if err := a.WaitMembers(testCtx(t), 3); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := first.command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	token := second.next(t)
	took := time.Since(begin)
	if token <= old || took > lease.Default().TTL/2 {
		t.Errorf("token %d after %d, %v after the death", token, old, took)
	}
	t.Logf("the next owner had the name %v after SIGKILL", took)
}

// TestStopTheOwner stops an owner for longer than others wait for it: until membership
// gives it up, or until its lease ends. When it goes on, it finds out before it does
// anything that it is none any more; only a step that it had begun may still be taken,
// which is what the token is for.
func TestStopTheOwner(t *testing.T) {
	for _, c := range []struct{ what, dead string }{{"membership gives it up", "500ms"}, {"its lease ends", "1h"}} {
		t.Run(c.what, func(t *testing.T) {
			dead := deadVariable + "=" + c.dead
			t.Setenv(deadVariable, c.dead)
			a := start(t, cluster.Config{Name: "a", StoreDir: t.TempDir(), Listen: "127.0.0.1:0"})
			address := strings.TrimPrefix(a.URL(), "nats://")
			first := spawn(t, "b", address, dead)
			old := first.next(t)
			second := spawn(t, "c", address, dead)
			if err := a.WaitMembers(testCtx(t), 3); err != nil {
				t.Fatal(err)
			}
			if err := first.command.Process.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			token := second.next(t)
			if token <= old {
				t.Errorf("token %d after %d", token, old)
			}
			first.drain()
			if err := first.command.Process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			late := 0
			for first.next(t) == old {
				late++
			}
			if late > 1 {
				t.Errorf("it acted %d times with its old token", late)
			}
			if second.drain(); second.next(t) != token {
				t.Error("the second owner has lost the name")
			}
		})
	}
}

// TestAnOwnerThatCameBack: a node that was taken for dead and goes on is a member again,
// in the same life. What it claims from then on is its own.
func TestAnOwnerThatCameBack(t *testing.T) {
	a := start(t, cluster.Config{Name: "a", StoreDir: t.TempDir(), Listen: "127.0.0.1:0"})
	first := spawn(t, "b", strings.TrimPrefix(a.URL(), "nats://"))
	old := first.next(t)
	if err := a.WaitMembers(testCtx(t), 2); err != nil {
		t.Fatal(err)
	}
	if err := first.command.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	o, err := Acquire(testCtx(t), a, "orders", loopnode.Ref{})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.command.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := a.WaitMembers(testCtx(t), 2); err != nil {
		t.Fatal(err)
	}
	if err := o.Release(testCtx(t)); err != nil {
		t.Fatal(err)
	}
	token := first.next(t)
	for token <= old || token < o.Token() { // what it said before it knew, and that it had lost the name
		token = first.next(t)
	}
	if again, err := Claim(testCtx(t), a, "orders", loopnode.Ref{}); !errors.Is(err, ErrTaken) {
		t.Fatalf("a name that b owns with token %d is claimed by a: %v, %v", token, again, err)
	}
	if now, err := Resolve(testCtx(t), a, "orders"); err != nil || now.Token != token {
		t.Fatal(now, err)
	}
}
