package multinode

import (
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/admin"
)

// nodesOf is what ls shows, without those that it keeps because they died.
func nodesOf(t *testing.T, args ...string) []string {
	t.Helper()
	out, errs, code := ask(t, append([]string{"ls", "-o", "name", "--filter", "state!=dead"}, args...)...)
	if code != 0 && code != 4 { // 4: one that has just ended does not answer
		t.Fatalf("ls: exit code %d: %s", code, errs)
	}
	return strings.Fields(out)
}

func TestThreeProcesses(t *testing.T) {
	hub, all := quarter(t)
	a, c := enter(t, all[0]), enter(t, all[2])
	t.Run("clients of different nodes see each other's lines", func(t *testing.T) {
		talk(t, "hello from one", a, a, c)
		talk(t, "and back", c, a, c)
	})
	t.Run("every process shows the whole cluster", func(t *testing.T) {
		for _, p := range all {
			if got := nodesOf(t, "--node", p.name); !slices.Equal(got, []string{"hub", "n1", "n2", "n3"}) {
				t.Errorf("%s shows %v", p.name, got)
			}
		}
		out, errs, code := ask(t, "ls", "-o", "json") // three sockets, one cluster: no guess
		var list admin.List[admin.Node]
		if err := json.Unmarshal([]byte(out), &list); err != nil || code != 0 {
			t.Fatal(err, code, errs)
		}
		if n := list.Items[2]; n.ID != "n2" || n.PID != all[1].cmd.Process.Pid {
			t.Errorf("%+v", n)
		}
	})
	t.Run("a function runs in the process that is named", func(t *testing.T) {
		if out, errs, code := ask(t, "func", "call", "demo.where", "null", "--on", "n3/io-0", "--node", "n1"); out != "\"n3/io-0\"\n" || code != 0 {
			t.Error(out, errs, code)
		}
		if out, errs, code := ask(t, "func", "call", "demo.add", "[1,2]", "--on", "n2/io-0"); out != "3\n" || code != 0 {
			t.Error(out, errs, code)
		}
	})
	t.Run("a connection of one process is written to through another", func(t *testing.T) {
		out, errs, code := ask(t, "conn", "ls", "-o", "json", "--node", "n2")
		var list admin.List[admin.Conn]
		if err := json.Unmarshal([]byte(out), &list); err != nil || code != 0 {
			t.Fatal(err, code, errs)
		}
		i := slices.IndexFunc(list.Items, func(conn admin.Conn) bool { return conn.Peer == c.LocalAddr().String() })
		if len(list.Items) != 2 || i < 0 {
			t.Fatalf("%+v", list.Items)
		}
		if _, errs, code := ask(t, "conn", "write", "--line", "--node", "n2", list.Items[i].ID, "from above"); code != 0 {
			t.Fatal(errs, code)
		}
		if got := c.hear(t); got != "from above" {
			t.Error(got)
		}
	})
	killed := watched(t, hub, "n2/io-0")
	unharmed := watched(t, hub, "n3/io-0")
	t.Run("a killed process is told of, and the others go on", func(t *testing.T) {
		begin := time.Now()
		all[1].signal(t, syscall.SIGKILL)
		wantEnd(t, killed, cluster.ErrNodeDown)
		t.Logf("told %v after SIGKILL", time.Since(begin).Round(time.Millisecond))
		waitMembers(t, hub, 3)
		for _, p := range []*process{all[0], all[2]} {
			until(t, p.name+" does not show n2", func() bool {
				return slices.Equal(nodesOf(t, "--node", p.name), []string{"hub", "n1", "n3"})
			})
		}
		if out, errs, code := ask(t, "ls", "--strict", "--node", "n1"); code != 4 || !strings.Contains(out, "dead") || !strings.Contains(errs, "n2: dead, killed? last seen ") {
			t.Error(code, out, errs)
		}
		talk(t, "still here", a, a, c)
		if _, errs, code := ask(t, "func", "call", "demo.add", "[1]", "--on", "n2/io-0", "--node", "n1"); code != 3 || !strings.Contains(errs, "nodes: hub, n1, n3") {
			t.Error(code, errs)
		}
		if _, errs, code := ask(t, "ls", "--node", "n2"); code != 4 || !strings.Contains(errs, "n2.sock") {
			t.Error(code, errs)
		}
	})
	t.Run("it is started again under its name, over its dead socket", func(t *testing.T) {
		again := boot(t, "n2", strings.TrimPrefix(hub.URL(), "nats://"))
		waitMembers(t, hub, 4)
		b := enter(t, again)
		until(t, "n1 knows it", func() bool { return slices.Contains(nodesOf(t, "--node", "n1"), "n2") })
		until(t, "it knows n1 and n3", func() bool {
			known := nodesOf(t, "--node", "n2")
			return slices.Contains(known, "n1") && slices.Contains(known, "n3")
		})
		talk(t, "back again", b, a, b, c)
		if _, errs, code := ask(t, "start", "--name", "n2", "--join", strings.TrimPrefix(hub.URL(), "nats://")); code != 6 || !strings.Contains(errs, "choose another") {
			t.Error(code, errs)
		}
	})
	select {
	case e := <-unharmed:
		t.Errorf("n3 was told dead: %v", e.Reason)
	case e := <-killed:
		t.Errorf("a second notice: %v", e.Reason)
	default:
	}
}

func TestAProcessIsInterrupted(t *testing.T) {
	hub, all := quarter(t)
	sleep := func(node, d string, result chan<- string) {
		out, err := hub.CallJSON(testCtx(t), refTo(t, hub, node+"/io-0"), "demo.sleep", json.RawMessage(`"`+d+`"`))
		if err != nil {
			out = []byte(err.Error())
		}
		result <- string(out)
	}
	busy := func(node string) bool { // asked by the hub itself: a process for each look takes longer than the call
		ref, err := hub.Ref(node + "/io-0")
		if err != nil {
			return false
		}
		out, err := hub.CallJSON(testCtx(t), ref, "loopmesh.tasks", json.RawMessage("{}"))
		var report admin.TasksReport
		return err == nil && json.Unmarshal(out, &report) == nil && len(report.Tasks) == 1
	}
	for i, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		p := all[i]
		t.Run("it leaves cleanly after the calls that run: "+s.String(), func(t *testing.T) {
			ended, result := watched(t, hub, p.name+"/io-0"), make(chan string, 1)
			go sleep(p.name, "3s", result)
			until(t, "the call runs", func() bool { return busy(p.name) })
			p.signal(t, s)
			if code := p.ended(t); code != 0 || p.errs.Len() > 0 {
				t.Errorf("exit code %d: %s", code, p.errs)
			}
			if got := receive(t, "the call", result); got != `"slept 3s"` {
				t.Error(got)
			}
			wantEnd(t, ended, cluster.ErrStopped)
			waitMembers(t, hub, 3-i)
			if _, err := os.Stat(admin.Path(p.name)); !errors.Is(err, os.ErrNotExist) {
				t.Error("its socket is left:", err)
			}
		})
	}
	t.Run("a second signal ends it at once", func(t *testing.T) {
		p, result := all[2], make(chan string, 1)
		go sleep(p.name, "1h", result)
		until(t, "the call runs", func() bool { return busy(p.name) })
		p.signal(t, syscall.SIGINT)
		for line := range p.said {
			if strings.HasPrefix(line, "shutting down") {
				break
			}
		}
		p.signal(t, syscall.SIGINT)
		if code := p.ended(t); code != 130 {
			t.Errorf("exit code %d: %s", code, p.errs)
		}
		if got := receive(t, "the call", result); !strings.Contains(got, cluster.ErrNodeDown.Error()) {
			t.Error(got)
		}
	})
}

func TestAProcessIsStoppedAndGoesOn(t *testing.T) {
	hub, all := quarter(t)
	stopped, others := watched(t, hub, "n2/io-0"), watched(t, hub, "n1/io-0")
	begin := time.Now()
	all[1].signal(t, syscall.SIGSTOP)
	wantEnd(t, stopped, cluster.ErrNodeDown)
	t.Logf("told %v after SIGSTOP", time.Since(begin).Round(time.Millisecond))
	if out, errs, code := ask(t, "func", "call", "demo.add", "[1,2]", "--on", "n3/io-0", "--node", "n1"); out != "3\n" || code != 0 {
		t.Error(out, errs, code)
	}
	if out, errs, code := ask(t, "ls", "--node", "n2", "--timeout", "1s"); code != 5 || out != "" || !strings.Contains(errs, "in time") {
		t.Error(out, errs, code)
	}
	if out, errs, code := ask(t, "ls", "-o", "name"); code != 0 { // it asks those that answer
		t.Error(out, errs, code)
	}
	all[1].signal(t, syscall.SIGCONT)
	waitMembers(t, hub, 4)
	until(t, "n2 serves again", func() bool {
		out, _, code := ask(t, "func", "call", "demo.add", "[1,2]", "--on", "n2/io-0", "--node", "n1")
		return out == "3\n" && code == 0
	})
	select {
	case e := <-others:
		t.Errorf("n1 was told dead: %v", e.Reason)
	default:
	}
}

func TestCommandLinesOfAProcess(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	for _, c := range []struct {
		args string
		code int
		errs string
	}{
		{"start --nmae n1", 2, "unknown flag: --nmae"},
		{"start n1", 2, "takes no argument"},
		{"strat", 2, "did you mean start"},
		{"func typo", 2, `no command "typo" in "loopmesh func"`},
		{"start --name n.1", 8, "letters, digits"},
		{"start --loops -1", 2, "--loops is -1"},
		{"start --join 127.0.0.1:1", 4, "is it running"},
		{"ls", 4, "loopmesh start"},
		{"version", 0, ""},
	} {
		out, errs, code := ask(t, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(errs, c.errs) || code != 0 && out != "" {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q", c.args, code, out, errs)
		}
	}
}
