package process_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/drain"
	"github.com/loopmesh/loopmesh/cluster/process"
)

// How a process ends when one of its two nodes does, or the link between them. In
// TestOwner… and TestHost… the other node is a process of its own, which is killed or
// stopped; the others cut connections (clustertest).

// TestTheOwnersNodeIsCutOff: both sides give each other up, the child is ended, and the
// caller hears a coded error from everything that waits.
func TestTheOwnersNodeIsCutOff(t *testing.T) {
	for _, how := range []string{"cut", "unplugged"} {
		t.Run(how, func(t *testing.T) {
			c, n1 := pair(t)
			ctx := within(t)
			p := begin(t, ctx, n1, "family")
			var grandchild int
			_, err := fmt.Sscan(line(t, ctx, p.Stdout()), &grandchild)
			must(t, err)
			if how == "cut" {
				c.Cut("n1")
			} else {
				c.Unplug("n1")
			}
			gone(t, "the child", p.PID())
			dead(t, grandchild)
			until(t, "its end is counted", func() bool { s := process.Counted(c.Node("n2")); return s.Running == 0 && s.Ended == 1 })
			c.Heal("n1")
			c.Together()
			if _, err := p.Wait(ctx); !errors.Is(err, process.ErrEnded) && !errors.Is(err, cluster.ErrNodeDown) {
				t.Error("Wait:", err)
			}
			if _, err := io.ReadAll(p.Stdout().Reader(ctx)); err != nil && !errors.Is(err, cluster.ErrNodeDown) && !errors.Is(err, cluster.ErrLost) {
				t.Error("Read:", err)
			}
			p = begin(t, ctx, n1, "exit", "5") // and it goes on
			if exit, err := p.Wait(ctx); err != nil || exit.Code != 5 {
				t.Error(exit, err)
			}
		})
	}
}

// TestAShortCutChangesNothing: bytes that were late arrive, and the end is heard.
func TestAShortCutChangesNothing(t *testing.T) {
	c, n1 := pair(t)
	ctx := within(t)
	p := begin(t, ctx, n1, "cat")
	c.Cut("n1")
	must(t, p.Write(ctx, []byte("late")))
	pause()
	c.Heal("n1")
	p.CloseStdin()
	if got := text(t, ctx, p.Stdout()); got != "late" {
		t.Errorf("%q", got)
	}
	if exit, err := p.Wait(ctx); err != nil || exit.Code != 0 {
		t.Error(exit, err)
	}
}

// TestTheOwnerLeaves: a node that is closed takes its processes along.
func TestTheOwnerLeaves(t *testing.T) {
	c, n1 := pair(t)
	ctx := within(t)
	p := begin(t, ctx, n1, "hang")
	n1.Close()
	gone(t, "the child", p.PID())
	if _, err := p.Wait(ctx); !errors.Is(err, cluster.ErrClosed) {
		t.Error(err)
	}
	if _, err := io.ReadAll(p.Stdout().Reader(ctx)); !errors.Is(err, cluster.ErrClosed) {
		t.Error("Read:", err)
	}
	c.Restart("n1")
}

// TestTheHostLeaves: a node that is closed ends its children, each owner hears the status
// and why, and all of the output; one that is drained waits for them first.
func TestTheHostLeaves(t *testing.T) {
	polite := sh("polite", `trap 'head -c 400000 /dev/zero | tr "\0" x; echo goodbye; exit 7' TERM; echo ready; while :; do sleep 0.02; done`)
	polite.Grace = 20 * time.Second // it says much, and its machine may be busy
	t.Run("closed", func(t *testing.T) {
		c, n1 := pair(t, polite)
		ctx := within(t)
		p, deaf := begin(t, ctx, n1, "polite"), begin(t, ctx, n1, "deaf")
		if line(t, ctx, p.Stdout()) != "ready" || line(t, ctx, deaf.Stdout()) != "ready" {
			t.Fatal("not ready")
		}
		c.Node("n2").Close()
		exit, err := p.Wait(ctx)
		if !errors.Is(err, process.ErrEnded) || exit.Code != 7 || !strings.Contains(exit.Why, "n2 leaves") {
			t.Errorf("%+v, %v", exit, err)
		}
		if got := text(t, ctx, p.Stdout()); got != strings.Repeat("x", 400000)+"goodbye\n" {
			t.Errorf("its last words: %d bytes", len(got))
		}
		if exit, err := deaf.Wait(ctx); !errors.Is(err, process.ErrEnded) || exit.Signal != int(syscall.SIGKILL) {
			t.Errorf("%+v, %v", exit, err)
		}
		gone(t, "the child", p.PID())
		gone(t, "the deaf child", deaf.PID())
		c.Restart("n2")
	})
	t.Run("drained", func(t *testing.T) {
		c, n1 := pair(t)
		n2, ctx := c.Node("n2"), within(t)
		p := begin(t, ctx, n1, "cat")
		drained := make(chan error, 1)
		waits := make(chan string, 100)
		go func() {
			drained <- drain.Node(ctx, n2, drain.Limit(drain.Commands, patience), drain.OnProgress(func(p drain.Progress) {
				if strings.Contains(p.String(), "1 processes") {
					select {
					case waits <- p.String():
					default:
					}
				}
			}))
		}()
		<-waits
		if _, err := process.Start(ctx, n1, process.Command{Node: "n2", Profile: "cat"}); !errors.Is(err, cluster.ErrClosed) {
			t.Error("a start while it drains:", err)
		}
		p.CloseStdin()
		if exit, err := p.Wait(ctx); err != nil || exit.Code != 0 {
			t.Error(exit, err)
		}
		must(t, <-drained)
		c.Restart("n2")
	})
}

// TestAChildThatRunsTooLong is ended by its profile.
func TestAChildThatRunsTooLong(t *testing.T) {
	short := sh("short", "echo ready; sleep 1000")
	short.MaxTime = 200 * time.Millisecond
	_, n1 := pair(t, short)
	ctx := within(t)
	p := begin(t, ctx, n1, "short")
	if exit, err := p.Wait(ctx); !errors.Is(err, process.ErrEnded) || !strings.Contains(exit.Why, "max_time") {
		t.Errorf("%+v, %v", exit, err)
	}
}

// TestAPipeThatSomebodyElseHolds: a process that left the group keeps stdout open, and the
// reader hears the end all the same.
func TestAPipeThatSomebodyElseHolds(t *testing.T) {
	_, n1 := pair(t, sh("escape", `f=$(mktemp); setsid sh -c "echo \$\$ >$f; exec sleep 1000" & while ! [ -s $f ]; do sleep 0.01; done; cat $f; rm $f`))
	ctx := within(t)
	p := begin(t, ctx, n1, "escape")
	began := time.Now()
	out := text(t, ctx, p.Stdout())
	if took := time.Since(began); took < time.Second || took > patience/2 {
		t.Errorf("the end of the output came after %v", took)
	}
	var escaped int
	_, err := fmt.Sscan(out, &escaped)
	must(t, err)
	must(t, syscall.Kill(escaped, syscall.SIGKILL))
}

// kept is a profile whose children outlive their owners.
func kept() process.Profile {
	p := sh("kept", `i=0; while [ $i -lt $1 ]; do echo line $i; i=$((i+1)); sleep 0.01; done; exit 9`)
	p.Orphan, p.Spool, p.Children = process.Keep, 64, 2
	return p
}

// TestAKeptProcess outlives its owner; the next one gets the newest of its output, what
// follows, and the status.
func TestAKeptProcess(t *testing.T) {
	c, n1 := pair(t, kept())
	ctx := within(t)
	p := begin(t, ctx, n1, "kept", "300")
	for i := range 20 { // more than the spool holds
		if got := line(t, ctx, p.Stdout()); got != fmt.Sprint("line ", i) {
			t.Fatal(got)
		}
	}
	if _, err := process.Attach(ctx, c.Node("n2"), "n2", "kept", p.ID()); !errors.Is(err, cluster.ErrBusy) {
		t.Error("a second owner:", err)
	}
	c.Crash("n1")
	n2 := c.Node("n2")
	var q *process.Process
	until(t, "it can be attached to", func() (ok bool) {
		var err error
		q, err = process.Attach(ctx, n2, "n2", "kept", p.ID())
		if err != nil && !errors.Is(err, cluster.ErrBusy) {
			t.Fatal(err)
		}
		return err == nil
	})
	if q.PID() != p.PID() {
		t.Error("another process", q.PID(), p.PID())
	}
	got := text(t, ctx, q.Stdout())
	missed, _ := q.Missed()
	all := ""
	for i := range 300 {
		all += fmt.Sprintln("line", i)
	}
	if missed == 0 || all[min(int(missed), len(all)):] != got {
		t.Errorf("missed %d, then %q", missed, got)
	}
	if exit, err := q.Wait(ctx); err != nil || exit.Code != 9 {
		t.Error(exit, err)
	}
	again, err := process.Attach(ctx, n2, "n2", "kept", p.ID())
	must(t, err)
	if got := text(t, ctx, again.Stdout()); got != all[len(all)-64:] {
		t.Errorf("after its end: %q", got)
	}
	if exit, err := again.Wait(ctx); err != nil || exit.Code != 9 {
		t.Error(exit, err)
	}
	if _, err := process.Attach(ctx, n2, "n2", "cat", p.ID()); !errors.Is(err, process.ErrUnknownProcess) {
		t.Error("under another profile:", err)
	}
	if _, err := process.Attach(ctx, n2, "n2", "kept", 4711); !errors.Is(err, process.ErrUnknownProcess) {
		t.Error("another number:", err)
	}
	for range 20 { // what has ended is bounded
		p := begin(t, ctx, n2, "kept", "0")
		_, _ = p.Wait(ctx)
	}
	if _, err := process.Attach(ctx, n2, "n2", "kept", p.ID()); !errors.Is(err, process.ErrUnknownProcess) {
		t.Error("the oldest is still kept:", err)
	}
}

// TestDetach: the profile decides whether it runs on.
func TestDetach(t *testing.T) {
	_, n1 := pair(t, kept())
	ctx := within(t)
	p, q := begin(t, ctx, n1, "kept", "100"), begin(t, ctx, n1, "hang")
	p.Detach()
	q.Detach()
	p.Close() // too late
	if _, err := p.Wait(ctx); !errors.Is(err, cluster.ErrClosed) {
		t.Error("with Keep:", err)
	}
	if _, err := q.Wait(ctx); !errors.Is(err, process.ErrEnded) {
		t.Error("without:", err)
	}
	gone(t, "the one without Keep", q.PID())
	again, err := process.Attach(ctx, n1, "n2", "kept", p.ID())
	must(t, err)
	if exit, err := again.Wait(ctx); err != nil || exit.Code != 9 {
		t.Error(exit, err)
	}
}

// TestNothingIsKeptWithoutKeep: there is nothing to attach to.
func TestNothingIsKeptWithoutKeep(t *testing.T) {
	_, n1 := pair(t)
	ctx := within(t)
	p := begin(t, ctx, n1, "hang")
	if _, err := process.Attach(ctx, n1, "n2", "hang", p.ID()); !errors.Is(err, process.ErrArguments) {
		t.Error(err)
	}
}

const roleVariable = "LOOPMESH_PROCESS_ROLE"

// role is the test binary as a node of its own: "owner URL PROFILE" starts a process on n2,
// prints its PID and its first line and waits; "host URL" offers the profiles.
func role(args []string) error {
	ctx := context.Background()
	cfg := cluster.Config{Name: "n1", URL: args[1], Heartbeat: 200 * time.Millisecond, DeadAfter: deadAfter, Allow: []string{"spawn:*"}}
	if args[0] == "host" {
		cfg.Name = "n2"
		cfg.Prepare = func(_ context.Context, n *cluster.Node) error { return process.Offer(n, profiles...) }
	}
	n, err := cluster.Start(ctx, cfg)
	if err != nil {
		return err
	}
	defer n.Close()
	if args[0] == "host" {
		fmt.Println("up")
		select {}
	}
	if err := n.WaitMembersAtLeast(ctx, 2); err != nil {
		return err
	}
	p, err := process.Start(ctx, n, process.Command{Node: "n2", Profile: args[2]})
	if err != nil {
		return err
	}
	said, err := bufio.NewReader(p.Stdout().Reader(ctx)).ReadString('\n')
	if err != nil {
		return err
	}
	fmt.Print(p.PID(), " ", said)
	_, err = p.Wait(ctx)
	fmt.Println("ended:", err)
	return err
}

// spawn starts the test binary in a role and returns it with the first line that it says.
func spawn(t *testing.T, args ...string) (cmd *exec.Cmd, said string) {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	cmd = exec.Command(self)
	cmd.Env, cmd.Stderr = append(os.Environ(), roleVariable+"="+strings.Join(args, " ")), os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // ended already is as good
		_ = cmd.Wait()
	})
	said, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%v said %q, %v", args, said, err)
	}
	return cmd, said
}

// broker is a node whose server the others use.
func broker(t *testing.T, name string, offers bool) *cluster.Node {
	t.Helper()
	cfg := cluster.Config{Name: name, Listen: "127.0.0.1:0", Heartbeat: 200 * time.Millisecond, DeadAfter: deadAfter, Allow: []string{"spawn:*"}}
	if offers {
		cfg.Prepare = func(_ context.Context, n *cluster.Node) error { return process.Offer(n, profiles...) }
	}
	n, err := cluster.Start(within(t), cfg)
	must(t, err)
	t.Cleanup(n.Close)
	return n
}

// TestTheOwnersProcessIsKilledOrHangs: within the promise, which is the time in which a dead
// node is noticed and the grace, child and grandchild are gone, and nothing is left of them.
func TestTheOwnersProcessIsKilledOrHangs(t *testing.T) {
	for what, sig := range map[string]syscall.Signal{"SIGKILL": syscall.SIGKILL, "SIGSTOP": syscall.SIGSTOP} {
		t.Run(what, func(t *testing.T) {
			n2 := broker(t, "n2", true)
			before := descriptors(t)
			owner, said := spawn(t, "owner", n2.URL(), "family")
			var child, grandchild int
			_, err := fmt.Sscan(said, &child, &grandchild)
			must(t, err)
			must(t, owner.Process.Signal(sig))
			began := time.Now()
			gone(t, "the child", child)
			dead(t, grandchild)
			t.Logf("gone %v after %s", time.Since(began).Round(time.Millisecond), what)
			until(t, "its end is counted", func() bool { s := process.Counted(n2); return s.Running == 0 && s.Ended == 1 })
			must(t, owner.Process.Kill())
			_ = owner.Wait()
			until(t, "the descriptors are closed", func() bool { return descriptors(t) <= before })
		})
	}
}

// TestTheHostsProcessIsKilledOrHangs: Wait and Read end with a coded error, and the kernel
// ends the child of a node that was killed.
func TestTheHostsProcessIsKilledOrHangs(t *testing.T) {
	for what, sig := range map[string]syscall.Signal{"SIGKILL": syscall.SIGKILL, "SIGSTOP": syscall.SIGSTOP} {
		t.Run(what, func(t *testing.T) {
			n1, ctx := broker(t, "n1", false), within(t)
			host, _ := spawn(t, "host", n1.URL())
			must(t, n1.WaitMembersAtLeast(ctx, 2))
			p := begin(t, ctx, n1, "hang")
			line(t, ctx, p.Stdout())
			must(t, host.Process.Signal(sig))
			if _, err := p.Wait(ctx); !errors.Is(err, cluster.ErrNodeDown) {
				t.Error("Wait:", err)
			}
			if _, err := p.Stdout().Read(ctx, make([]byte, 1)); !errors.Is(err, cluster.ErrNodeDown) {
				t.Error("Read:", err)
			}
			if err := p.Signal(ctx, syscall.SIGTERM); err == nil {
				t.Error("a signal was sent to nobody")
			}
			must(t, host.Process.Kill())
			_ = host.Wait()
			gone(t, "the child of a killed node", p.PID())
		})
	}
}
