package nodecmd

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/transportactors/handover"
)

// generation is a process that serves the chat until the next one does.
type generation struct {
	cmd *exec.Cmd
	out *bufio.Reader
	at  string // of its chat
}

// begin starts one and waits until it serves.
func begin(t *testing.T, args ...string) *generation {
	t.Helper()
	cmd, out := runs(t, append([]string{"start", "--loops", "1"}, args...)...)
	g := &generation{cmd: cmd, out: out}
	for said := ""; !strings.Contains(said, "Ctrl-C"); {
		line, err := out.ReadString('\n')
		if said += line; err != nil {
			t.Fatalf("it ended behind %q", said)
		}
		if at, ok := strings.CutPrefix(strings.TrimSpace(line), "chat "); ok {
			g.at = strings.TrimSpace(at)
		}
	}
	return g
}

// replaced waits for the end of one that was replaced.
func (g *generation) replaced(t *testing.T) {
	t.Helper()
	rest, _ := io.ReadAll(g.out)
	if err := g.cmd.Wait(); err != nil || !strings.Contains(string(rest), "a newer process serves now") {
		t.Fatalf("it ended with %v behind %q", err, rest)
	}
}

// hub is a node that the others join.
func hub(t *testing.T) string {
	t.Helper()
	n, err := cluster.Start(t.Context(), cluster.Config{Name: "hub", Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return strings.TrimPrefix(n.URL(), "nats://")
}

// TestStartIsReplacedInPlace: clients connect as fast as they can while a newer process takes
// over, twice. Each of them is greeted; the process before drains and ends by itself.
func TestStartIsReplacedInPlace(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	args := []string{"--join", hub(t), "--handover", filepath.Join(t.TempDir(), "handover"), "--drain", "10s", "--chat"}
	running := begin(t, append(args, "127.0.0.1:0")...)
	at := running.at
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var load sync.WaitGroup
	defer load.Wait()
	defer stop()
	var greeted atomic.Int64
	for range 4 {
		load.Go(func() {
			for ctx.Err() == nil {
				if err := greet(at); err != nil {
					t.Error("an attempt failed:", err)
					return
				}
				greeted.Add(1)
			}
		})
	}
	alarm := time.NewTimer(4 * patience)
	defer alarm.Stop()
	more := func() {
		for before := greeted.Load(); greeted.Load() < before+200 && !t.Failed(); {
			select {
			case <-alarm.C:
				t.Fatal("clients are not greeted any more")
			case <-time.After(time.Millisecond):
			}
		}
	}
	more()
	for range 2 {
		next := begin(t, append(args, at)...)
		if next.at != at {
			t.Fatalf("the next one serves %s, the one before %s", next.at, at)
		}
		running.replaced(t)
		running = next
		more()
	}
}

// greet connects, and reads the greeting of the chat.
func greet(at string) error {
	c, err := net.Dial("tcp", at)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "* you are ") {
		err = fmt.Errorf("it was greeted with %q", line)
	}
	return err
}

// TestAStartThatFailsTakesNothingOver: the process before goes on, whatever was wrong.
func TestAStartThatFailsTakesNothingOver(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	args := []string{"--join", hub(t), "--handover", filepath.Join(t.TempDir(), "handover"), "--name", "n1"}
	running := begin(t, append(args, "--chat", "127.0.0.1:0")...)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, c := range []struct {
		more []string
		says string
		code int
	}{
		{[]string{"--chat", running.at}, "a --name of its own", exitRefused},
		{[]string{"--chat", running.at, "--name", "n2", "--admin-listen", taken.Addr().String()}, "address already in use", exitRefused},
		{[]string{"--chat", taken.Addr().String(), "--name", "n2"}, "address already in use", exitRefused},
	} {
		s := ran(t, "", append(append([]string{"start"}, args...), c.more...)...)
		if s.code != c.code || !strings.Contains(s.errs, c.says) {
			t.Errorf("%q: %+v", c.more, s)
		}
		if err := greet(running.at); err != nil {
			t.Errorf("behind %q: %v", c.more, err)
		}
	}
	next := begin(t, append(args, "--chat", running.at, "--name", "n2")...)
	running.replaced(t)
	if err := greet(next.at); err != nil {
		t.Error(err)
	}
}

// TestAServiceThatCannotBeHandedOver: it is said at the first start.
func TestAServiceThatCannotBeHandedOver(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	plain := Service{Name: "plain", About: "listen", Start: func(ctx context.Context, n *cluster.Node, at string) (net.Addr, error) {
		l, err := net.Listen("tcp", at)
		if err != nil {
			return nil, err
		}
		context.AfterFunc(t.Context(), func() { _ = l.Close() })
		return l.Addr(), nil
	}}
	var errs strings.Builder
	args := []string{"start", "--listen", "none", "--name", "n1", "--loops", "1", "--handover", filepath.Join(t.TempDir(), "h")}
	code := Run(t.Context(), append(args, "--plain", "127.0.0.1:0"), io.Discard, &errs, WithService(plain))
	if code == exitOK || !strings.Contains(errs.String(), "no stream server of a loop") {
		t.Errorf("%d %s", code, errs.String())
	}
	errs.Reset()
	code = run(t.Context(), append(args, "--chat", ":0"), io.Discard, &errs)
	if code != exitUsage || !strings.Contains(errs.String(), "listens at 2 addresses") {
		t.Errorf("%d %s", code, errs.String())
	}
}

// TestAChangedAddressIsBoundAnew: the socket of another port is not what the command line asks for.
func TestAChangedAddressIsBoundAnew(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	other := free.Addr().String()
	_ = free.Close()
	args := []string{"--join", hub(t), "--handover", filepath.Join(t.TempDir(), "handover"), "--chat"}
	running := begin(t, append(args, "127.0.0.1:0")...)
	next := begin(t, append(args, other)...)
	running.replaced(t)
	if next.at != other {
		t.Errorf("it serves %s, want %s", next.at, other)
	}
	if err := greet(other); err != nil {
		t.Error(err)
	}
	if _, _, _, err := handover.At("tcp", "fd://:0"); err == nil {
		t.Error("stdin was taken for a listening socket")
	}
}
