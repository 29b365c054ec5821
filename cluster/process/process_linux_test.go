package process_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/clustertest"
	"github.com/loopmesh/loopmesh/cluster/keys"
	"github.com/loopmesh/loopmesh/cluster/process"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

const patience = 3 * time.Minute

// sh is a profile that runs a fixed text of the shell, with the caller's words as $1 and
// so on.
func sh(name, text string) process.Profile {
	return process.Profile{Name: name, Argv: []string{"/bin/sh", "-c", text, "sh", "{...}"}, Grace: 300 * time.Millisecond}
}

var profiles = []process.Profile{
	{Name: "cat", Argv: []string{"/bin/cat"}},
	sh("exit", "exit $1"),
	sh("both", `echo out-$1; echo err-$1 >&2; exit $2`),
	sh("hang", `echo ready; while :; do sleep 0.05; done`),
	sh("deaf", `trap '' TERM INT; echo ready; while :; do sleep 0.05; done`),
	sh("family", `sleep 1000 & echo $!; wait`),
	sh("env", "env; pwd; ls -l /proc/self/fd | wc -l"),
	sh("flood", `head -c $1 /dev/zero | tr '\0' x`),
	{Name: "copy", Argv: []string{"/bin/echo", "from={src}", "{dst}", "{...}"}, Args: map[string]string{"src": "/srv/[a-z]*"}, Defaults: map[string]string{"dst": "here"}, Words: "[0-9]+"},
	{Name: "any", Argv: []string{"{...}"}, Words: ".*"},
}

// pair is n1, which starts, and n2, which offers all.
func pair(t *testing.T, more ...process.Profile) (*clustertest.Cluster, *cluster.Node) {
	t.Helper()
	c := clustertest.New(t, 2, func(name string, cfg *cluster.Config) {
		cfg.Allow = []string{"spawn:*"}
		cfg.Heartbeat, cfg.DeadAfter = 200*time.Millisecond, deadAfter // hundreds of processes on a busy machine are no death
		if name != "n2" {
			return
		}
		cfg.Prepare = func(_ context.Context, n *cluster.Node) error {
			return process.Offer(n, append(append([]process.Profile{}, profiles...), more...)...)
		}
	})
	return c, c.Node("n1")
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// begin starts a profile on n2.
func begin(t testing.TB, ctx context.Context, n *cluster.Node, profile string, words ...string) *process.Process {
	t.Helper()
	p, err := process.Start(ctx, n, process.Command{Node: "n2", Profile: profile, Words: words})
	must(t, err)
	t.Cleanup(p.Close)
	return p
}

// text is all that an output brings.
func text(t testing.TB, ctx context.Context, o *process.Output) string {
	t.Helper()
	b, err := io.ReadAll(o.Reader(ctx))
	must(t, err)
	return string(b)
}

// line is the next line of an output.
func line(t testing.TB, ctx context.Context, o *process.Output) string {
	t.Helper()
	var b []byte
	for one := make([]byte, 1); ; {
		_, err := o.Read(ctx, one)
		must(t, err)
		if one[0] == '\n' {
			return string(b)
		}
		b = append(b, one[0])
	}
}

// deadAfter is Config.DeadAfter here.
const deadAfter = 2 * time.Second

// promise is how long the end of a node may take to reach its processes here, where DeadAfter
// is two seconds and the grace 0.3 s, on a machine that is busy. It has to be less than
// what a lease takes, which would end them as well.
const promise = 20 * time.Second

// gone waits until no process of that number is left, zombies included.
func gone(t testing.TB, what string, pid int) {
	t.Helper()
	for end := time.Now().Add(promise); ; {
		if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s, process %d, is still there", what, pid)
		}
		pause()
	}
}

// dead is gone for a grandchild: whoever inherits it may reap it late, or never.
func dead(t testing.TB, pid int) {
	t.Helper()
	end := time.Now().Add(promise)
	until(t, fmt.Sprintf("grandchild %d ends", pid), func() bool {
		if time.Now().After(end) {
			t.Fatalf("grandchild %d is still there", pid)
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || bytes.Contains(stat, []byte(") Z "))
	})
}

func pause() {
	tick := time.NewTimer(5 * time.Millisecond)
	<-tick.C
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); pause() {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

func TestAProcessOfAnotherNode(t *testing.T) {
	_, n1 := pair(t)
	ctx := within(t)
	t.Run("output, stderr and the exit code come through", func(t *testing.T) {
		p := begin(t, ctx, n1, "both", "7", "3")
		if out, err := text(t, ctx, p.Stdout()), text(t, ctx, p.Stderr()); out != "out-7\n" || err != "err-7\n" {
			t.Errorf("%q and %q", out, err)
		}
		exit, err := p.Wait(ctx)
		if err != nil || exit.Code != 3 || exit.Signal != 0 || exit.Why != "" {
			t.Errorf("%+v, %v", exit, err)
		}
		if _, err := p.Stdout().Read(ctx, make([]byte, 1)); err != io.EOF {
			t.Error("behind the end:", err)
		}
		if err := p.Signal(ctx, syscall.SIGTERM); !errors.Is(err, process.ErrUnknownProcess) {
			t.Error("a signal behind the end:", err)
		}
	})
	t.Run("stdin goes there, and its end", func(t *testing.T) {
		p := begin(t, ctx, n1, "cat")
		must(t, p.Write(ctx, []byte("hello ")))
		must(t, p.Write(ctx, []byte("world")))
		p.CloseStdin()
		if got := text(t, ctx, p.Stdout()); got != "hello world" {
			t.Errorf("%q", got)
		}
		if exit, err := p.Wait(ctx); err != nil || exit.Code != 0 {
			t.Error(exit, err)
		}
		if err := p.Write(ctx, []byte("more")); !errors.Is(err, transportactors.ErrClosed) {
			t.Error("stdin of a process that has ended:", err)
		}
	})
	t.Run("a signal reaches it, and is the end that Wait tells", func(t *testing.T) {
		p := begin(t, ctx, n1, "hang")
		if got := line(t, ctx, p.Stdout()); got != "ready" {
			t.Fatal(got)
		}
		must(t, p.Signal(ctx, syscall.SIGUSR1))
		exit, err := p.Wait(ctx)
		if err != nil || exit.Signal != int(syscall.SIGUSR1) || exit.Code != 128+int(syscall.SIGUSR1) {
			t.Errorf("%+v, %v", exit, err)
		}
		gone(t, "the child", p.PID())
	})
	t.Run("what it has started ends with it", func(t *testing.T) {
		p := begin(t, ctx, n1, "family")
		var grandchild int
		_, err := fmt.Sscan(line(t, ctx, p.Stdout()), &grandchild)
		must(t, err)
		p.Close()
		exit, err := p.Wait(ctx)
		if !errors.Is(err, process.ErrEnded) || exit.Signal != int(syscall.SIGTERM) || exit.Why == "" {
			t.Errorf("%+v, %v", exit, err)
		}
		dead(t, grandchild)
	})
	t.Run("one that ignores SIGTERM is killed after the grace", func(t *testing.T) {
		p := begin(t, ctx, n1, "deaf")
		line(t, ctx, p.Stdout())
		p.Close()
		if exit, err := p.Wait(ctx); !errors.Is(err, process.ErrEnded) || exit.Signal != int(syscall.SIGKILL) || exit.Took < 300*time.Millisecond {
			t.Errorf("%+v, %v", exit, err)
		}
	})
	t.Run("an output that nobody reads any more is a broken pipe", func(t *testing.T) {
		p := begin(t, ctx, n1, "flood", "100000000")
		p.Stdout().Close()
		if exit, err := p.Wait(ctx); err != nil || exit.Code == 0 {
			t.Errorf("%+v, %v", exit, err)
		}
	})
	t.Run("a task of a loop waits, and does not stop its loop", func(t *testing.T) {
		must(t, loopnode.Run(ctx, func(ctx context.Context) error {
			p, err := process.Start(ctx, n1, process.Command{Node: "n2", Profile: "both", Words: []string{"task", "0"}, NoStdin: true})
			if err != nil {
				return err
			}
			b, err := io.ReadAll(p.Stdout().Reader(ctx))
			if string(b) != "out-task\n" || err != nil {
				t.Errorf("%q, %v", b, err)
			}
			_, err = p.Wait(ctx)
			return err
		}))
	})
}

func TestAProcessOfThisVeryNode(t *testing.T) {
	c, _ := pair(t)
	n2, ctx := c.Node("n2"), within(t)
	p := begin(t, ctx, n2, "cat")
	must(t, p.Write(ctx, bytes.Repeat([]byte("x"), 3<<20/2)[:1<<20]))
	p.CloseStdin()
	if got := text(t, ctx, p.Stdout()); len(got) != 1<<20 {
		t.Error(len(got))
	}
	if exit, err := p.Wait(ctx); err != nil || exit.Code != 0 {
		t.Error(exit, err)
	}
}

func TestWhatIsNotStarted(t *testing.T) {
	_, n1 := pair(t, process.Profile{Name: "gone", Argv: []string{"/bin/sh"}, Dir: "/no/such/folder"})
	ctx := within(t)
	long := strings.Repeat("x", 5000)
	for what, c := range map[string]struct {
		cmd  process.Command
		want error
		says string
	}{
		"no such node":       {process.Command{Node: "n9", Profile: "cat"}, cluster.ErrUnknownNode, "n9"},
		"no profiles":        {process.Command{Node: "n1", Profile: "cat"}, process.ErrUnknownProfile, "n1"},
		"no such profile":    {process.Command{Node: "n2", Profile: "dog"}, process.ErrUnknownProfile, `"dog"`},
		"a missing argument": {process.Command{Node: "n2", Profile: "copy"}, process.ErrArguments, "needs the argument src: it takes ..., [dst], src"},
		"an argument of no template": {process.Command{Node: "n2", Profile: "copy", Args: map[string]string{"src": "/srv/a", "to": "b"}},
			process.ErrArguments, `no argument "to"`},
		"a value that does not match": {process.Command{Node: "n2", Profile: "copy", Args: map[string]string{"src": "/etc/shadow"}},
			process.ErrArguments, "has to match /srv/[a-z]*"},
		"a value that matches in part": {process.Command{Node: "n2", Profile: "copy", Args: map[string]string{"src": "/srv/a\n/etc/shadow"}},
			process.ErrArguments, "src is"},
		"an option for a value": {process.Command{Node: "n2", Profile: "copy", Args: map[string]string{"src": "/srv/a", "dst": "--help"}},
			process.ErrArguments, "does not begin with -"},
		"a word that does not match": {process.Command{Node: "n2", Profile: "copy", Args: map[string]string{"src": "/srv/a"}, Words: []string{"12", "x"}},
			process.ErrArguments, "has to match [0-9]+"},
		"the rest as an argument": {process.Command{Node: "n2", Profile: "copy", Args: map[string]string{"src": "/srv/a", "...": "1"}},
			process.ErrArguments, `no argument "..."`},
		"words where none are taken": {process.Command{Node: "n2", Profile: "cat", Words: []string{"/etc/passwd"}}, process.ErrArguments, "takes no words"},
		"a NUL byte":                 {process.Command{Node: "n2", Profile: "any", Words: []string{"/bin/echo", "a\x00b"}}, process.ErrArguments, "NUL"},
		"no program":                 {process.Command{Node: "n2", Profile: "any"}, process.ErrArguments, "give a program"},
		"too long a word":            {process.Command{Node: "n2", Profile: "any", Words: []string{"/bin/echo", long}}, process.ErrArguments, "5000 bytes"},
		"too many words":             {process.Command{Node: "n2", Profile: "any", Words: make([]string, 300)}, process.ErrArguments, "300 words"},
		"a variable":                 {process.Command{Node: "n2", Profile: "cat", Env: map[string]string{"LD_PRELOAD": "x"}}, process.ErrArguments, "LD_PRELOAD"},
		"a missing program":          {process.Command{Node: "n2", Profile: "any", Words: []string{"/no/such/program"}}, process.ErrNotStarted, "no such file"},
		"a missing folder":           {process.Command{Node: "n2", Profile: "gone"}, process.ErrNotStarted, "/no/such/folder"},
	} {
		_, err := process.Start(ctx, n1, c.cmd)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %v and %q", what, err, c.want, c.says)
		}
	}
	var none context.Context
	if _, err := process.Start(none, n1, process.Command{}); !errors.Is(err, cluster.ErrConfig) {
		t.Error("nil ctx:", err)
	}
	p, err := process.Start(ctx, n1, process.Command{Node: "n2", Profile: "copy", Args: map[string]string{"src": "/srv/a"}, Words: []string{"1", "22"}})
	must(t, err)
	if got := text(t, ctx, p.Stdout()); got != "from=/srv/a here 1 22\n" {
		t.Errorf("%q", got)
	}
	p.Close()
}

func TestWhatAChildGets(t *testing.T) {
	t.Setenv("PROCESS_SECRET", "must not leave")
	t.Setenv("PROCESS_INHERITED", "from the node")
	_, n1 := pair(t,
		process.Profile{Name: "open", Argv: []string{"/bin/sh", "-c", "env; pwd"}, Dir: "/tmp", Env: []string{"FIXED=yes"}, Inherit: []string{"PROCESS_INHERITED", "PROCESS_UNSET"}, Accept: []string{"LANG"}},
		process.Profile{Name: "limited", Argv: []string{"/bin/sh", "-c", "ulimit -n; ulimit -t; ulimit -v; ulimit -f"}, Limits: process.Limits{CPU: 1500 * time.Millisecond, Files: 33, Memory: 1 << 30, Output: 1 << 20}},
		process.Profile{Name: "two", Argv: []string{"/bin/echo", "{a}-{b}"}, Args: map[string]string{"a": ".*", "b": ".*"}},
		process.Profile{Name: "words", Argv: []string{"/usr/bin/env", "printf", "[%s]", "{...}"}, Words: ".*", Limits: process.Limits{Files: 64}},
	)
	ctx := within(t)
	p, err := process.Start(ctx, n1, process.Command{Node: "n2", Profile: "open", Env: map[string]string{"LANG": "de"}})
	must(t, err)
	got := text(t, ctx, p.Stdout())
	for _, want := range []string{"FIXED=yes\n", "PROCESS_INHERITED=from the node\n", "LANG=de\n", "PATH=/usr/local/bin:/usr/bin:/bin\n", "\n/tmp\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
	if strings.Contains(got, "PROCESS_SECRET") || strings.Contains(got, "HOME=") {
		t.Errorf("the node's environment: %q", got)
	}
	p = begin(t, ctx, n1, "limited")
	if got := text(t, ctx, p.Stdout()); got != "33\n2\n1048576\n2048\n" {
		t.Errorf("limits: %q", got)
	}
	p, err = process.Start(ctx, n1, process.Command{Node: "n2", Profile: "two", Args: map[string]string{"a": "{b}{...}", "b": "x"}})
	must(t, err)
	if got := text(t, ctx, p.Stdout()); got != "{b}{...}-x\n" {
		t.Errorf("a value that looks like a place: %q", got)
	}
	hostile := []string{"$(id)", "`id`", "; id", "a b", "'", "\"", "\\", "&& id", "*", "-n", "${PATH}"}
	p = begin(t, ctx, n1, "words", hostile...)
	if got, want := text(t, ctx, p.Stdout()), "["+strings.Join(hostile, "][")+"]"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestBadProfilesAreRefused: nothing of an Offer with a mistake is offered.
func TestBadProfilesAreRefused(t *testing.T) {
	good := process.Profile{Name: "p", Argv: []string{"/bin/cat"}}
	for what, change := range map[string]func(*process.Profile){
		`use up to 64 letters`: func(p *process.Profile) { p.Name = "a/b" }, "argv is missing": func(p *process.Profile) { p.Argv = nil },
		"no absolute path": func(p *process.Profile) { p.Argv = []string{"cat"} }, "chooses": nil,
		"no such file":    func(p *process.Profile) { p.Argv = []string{"/no/such"} },
		"is no program":   func(p *process.Profile) { p.Argv = []string{"/etc/passwd"} },
		"lets the caller": func(p *process.Profile) { p.Argv = []string{"/bin/{name}"} },
		"element of its":  func(p *process.Profile) { p.Argv = []string{"/bin/cat", "x{...}"} },
		"{a} is not in":   func(p *process.Profile) { p.Args = map[string]string{"a": ""} },
		"the pattern of": func(p *process.Profile) {
			p.Argv, p.Args = []string{"/bin/cat", "{a}"}, map[string]string{"a": "a)|(b"}
		},
		"the default of": func(p *process.Profile) {
			p.Argv, p.Defaults = []string{"/bin/cat", "{a}"}, map[string]string{"a": "-x"}
		},
		"defaults has":      func(p *process.Profile) { p.Defaults = map[string]string{"a": "x"} },
		"words is set":      func(p *process.Profile) { p.Words = "x" },
		"dir":               func(p *process.Profile) { p.Dir = "tmp" },
		"write KEY=value":   func(p *process.Profile) { p.Env = []string{"x"} },
		"no name of":        func(p *process.Profile) { p.Accept = []string{"A=B"} },
		"children is":       func(p *process.Profile) { p.Children = -1 },
		"max_time":          func(p *process.Profile) { p.MaxTime = -1 },
		"grace is":          func(p *process.Profile) { p.Grace = time.Hour },
		"orphan is":         func(p *process.Profile) { p.Orphan = "adopt" },
		"spool is":          func(p *process.Profile) { p.Spool = 1 << 30 },
		"kept is":           func(p *process.Profile) { p.Kept = -1 },
		"limit is negative": func(p *process.Profile) { p.Limits.Files = -1 },
		"user":              func(p *process.Profile) { p.User = "nobody-of-that-name" },
		`"0:x"`:             func(p *process.Profile) { p.User = "0:x" },
		"argv contains":     func(p *process.Profile) { p.Argv = []string{"/bin/cat", "\x00"} },
	} {
		if change == nil {
			continue
		}
		p := good
		change(&p)
		if err := process.Check(p); !errors.Is(err, cluster.ErrConfig) || !strings.Contains(err.Error(), what) {
			t.Errorf("%q: %v", what, err)
		}
	}
	c := clustertest.New(t, 1, nil)
	n := c.Node("n1")
	if err := process.Offer(n, good, process.Profile{Name: "q"}); !errors.Is(err, cluster.ErrConfig) {
		t.Error(err)
	}
	must(t, process.Offer(n, good))
	if err := process.Offer(n, good); !errors.Is(err, cluster.ErrConfig) || !strings.Contains(err.Error(), "twice") {
		t.Error("offered again:", err)
	}
	if err := process.Offer(nil, good); !errors.Is(err, cluster.ErrConfig) {
		t.Error("nil node:", err)
	}
}

func TestWithoutTheRightNothingStarts(t *testing.T) {
	c := clustertest.New(t, 2, func(name string, cfg *cluster.Config) {
		cfg.Allow = []string{"call:*", "timer:*", "write", "spawn:cat", "spawn:ca?e"}
		cfg.Prepare = func(_ context.Context, n *cluster.Node) error { return process.Offer(n, profiles...) }
	})
	n1, ctx := c.Node("n1"), within(t)
	for _, profile := range []string{"exit", "any"} {
		_, err := process.Start(ctx, n1, process.Command{Node: "n2", Profile: profile, Words: []string{"0"}})
		if !errors.Is(err, cluster.ErrRefused) || !strings.Contains(err.Error(), "spawn:"+profile) {
			t.Error(profile, err)
		}
		ref, err := n1.Ref("n2/" + process.LoopName)
		must(t, err)
		if _, err := n1.CallJSON(ctx, ref, "loopmesh.spawn."+profile, []byte(`{"op":"start","key":"x"}`)); !errors.Is(err, cluster.ErrRefused) {
			t.Error("by hand:", err)
		}
	}
	if s := process.Counted(c.Node("n2")); s.Started != 0 || c.Node("n2").Stats().NoRight != 4 {
		t.Errorf("%+v, %d", s, c.Node("n2").Stats().NoRight)
	}
	p := begin(t, ctx, n1, "cat")
	p.CloseStdin()
	if exit, err := p.Wait(ctx); err != nil || exit.Code != 0 {
		t.Error(exit, err)
	}
	p, err := process.Start(ctx, n1, process.Command{Node: "n1", Profile: "exit", Words: []string{"4"}})
	must(t, err)
	if exit, err := p.Wait(ctx); err != nil || exit.Code != 4 {
		t.Error("on this node itself:", exit, err)
	}
}

// TestWithKeys: the rights are those in the keys, and the bytes need none beside them.
func TestWithKeys(t *testing.T) {
	dir := t.TempDir()
	must(t, keys.Init(dir, "shop", keys.Node{Name: "n2", Voter: true, Grants: []string{"none"}}))
	must(t, keys.Add(dir, keys.Node{Name: "n1", Grants: []string{"spawn:cat"}}))
	ctx := within(t)
	offer := func(_ context.Context, n *cluster.Node) error { return process.Offer(n, profiles...) }
	n2, err := cluster.Start(ctx, cluster.Config{Name: "n2", Listen: "127.0.0.1:0", Keys: dir, Prepare: offer})
	must(t, err)
	t.Cleanup(n2.Close)
	n1, err := cluster.Start(ctx, cluster.Config{Name: "n1", Join: []string{strings.TrimPrefix(n2.URL(), "nats://")}, Keys: dir, Prepare: offer})
	must(t, err)
	t.Cleanup(n1.Close)
	must(t, n1.WaitMembers(ctx, 2))
	p := begin(t, ctx, n1, "cat")
	must(t, p.Write(ctx, bytes.Repeat([]byte("x"), 1<<20)))
	p.CloseStdin()
	if got := text(t, ctx, p.Stdout()); len(got) != 1<<20 {
		t.Error(len(got))
	}
	if exit, err := p.Wait(ctx); err != nil || exit.Code != 0 {
		t.Error(exit, err)
	}
	if n := n1.Stats().NoRight + n2.Stats().NoRight; n != 0 {
		t.Errorf("%d frames were refused", n)
	}
	if _, err := process.Start(ctx, n1, process.Command{Node: "n2", Profile: "any", Words: []string{"/bin/true"}}); !errors.Is(err, cluster.ErrRefused) {
		t.Error("another profile:", err)
	}
	if _, err := process.Start(ctx, n2, process.Command{Node: "n1", Profile: "cat"}); !errors.Is(err, cluster.ErrRefused) {
		t.Error("without rights:", err)
	}
}

// TestOutputNeedsNoOtherRight: the node that runs it may write to nothing else of the owner.
func TestOutputNeedsNoOtherRight(t *testing.T) {
	c := clustertest.New(t, 2, func(name string, cfg *cluster.Config) {
		cfg.Allow = []string{"none"}
		if name == "n2" {
			cfg.Allow = []string{"spawn:*"}
			cfg.Prepare = func(_ context.Context, n *cluster.Node) error { return process.Offer(n, profiles...) }
		}
	})
	ctx := within(t)
	p := begin(t, ctx, c.Node("n1"), "cat")
	want := strings.Repeat("0123456789abcdef", 1<<17)
	go func() {
		_ = p.Write(ctx, []byte(want)) // the length of what comes back tells
		p.CloseStdin()
	}()
	if got := text(t, ctx, p.Stdout()); got != want {
		t.Errorf("%d bytes of %d", len(got), len(want))
	}
	if n := c.Node("n1").Stats().NoRight + c.Node("n2").Stats().NoRight; n != 0 {
		t.Errorf("%d frames were refused", n)
	}
}

// TestASlowReaderSlowsTheProcess: 64 MiB come through in order, and while nobody reads, no
// more than the window and the pipes is on its way.
func TestASlowReaderSlowsTheProcess(t *testing.T) {
	_, n1 := pair(t, sh("count", `i=0; while [ $i -lt 64 ]; do echo $i >&2; head -c 1048576 /dev/zero | tr '\0' "\\$(printf %03o $((i%26+97)))"; i=$((i+1)); done`))
	ctx := within(t)
	p := begin(t, ctx, n1, "count")
	written := 0 // MiB that the process has begun to write
	for quiet := false; !quiet; {
		short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		buf := make([]byte, 64)
		n, err := p.Stderr().Read(short, buf)
		cancel()
		written += bytes.Count(buf[:n], []byte("\n"))
		quiet = errors.Is(err, context.DeadlineExceeded)
		if err != nil && !quiet {
			t.Fatal(err)
		}
	}
	if written > 4 {
		t.Errorf("it wrote %d MiB that nobody has read", written)
	}
	go func() { _, _ = io.Copy(io.Discard, p.Stderr().Reader(ctx)) }() // ends with the process
	buf, at := make([]byte, 100_000), 0
	for {
		n, err := p.Stdout().Read(ctx, buf)
		for _, b := range buf[:n] {
			if want := byte('a' + at>>20%26); b != want {
				t.Fatalf("byte %d is %c, want %c", at, b, want)
			}
			at++
		}
		if err == io.EOF {
			break
		}
		must(t, err)
	}
	if exit, err := p.Wait(ctx); at != 64<<20 || err != nil || exit.Code != 0 {
		t.Errorf("%d bytes, %v, %v", at, exit, err)
	}
}

// TestStdinThatIsNotRead waits, and its end does not need the reader.
func TestStdinThatIsNotRead(t *testing.T) {
	_, n1 := pair(t)
	ctx := within(t)
	p := begin(t, ctx, n1, "hang")
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if err := p.Write(short, make([]byte, 8<<20)); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	must(t, p.Signal(ctx, syscall.SIGKILL))
	if exit, err := p.Wait(ctx); err != nil || exit.Signal != int(syscall.SIGKILL) {
		t.Error(exit, err)
	}
}

// TestAPartOfStdinIsNotTakenForAll: a child that would do something with the end of its
// stdin does not come to it when the owner is gone in the midst of it.
func TestAPartOfStdinIsNotTakenForAll(t *testing.T) {
	file := t.TempDir() + "/file"
	c, n1 := pair(t, sh("save", `cat > $1.new && mv $1.new $1`))
	ctx := within(t)
	p := begin(t, ctx, n1, "save", file)
	must(t, p.Write(ctx, []byte("the beginning")))
	until(t, "it has the beginning", func() bool { b, _ := os.ReadFile(file + ".new"); return len(b) > 0 })
	c.Crash("n1")
	gone(t, "the child", p.PID())
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Error("it took a part for all:", err)
	}
}

// TestASignalReachesTheGroup: the shell waits and has no trap; what it has started has one.
func TestASignalReachesTheGroup(t *testing.T) {
	_, n1 := pair(t, sh("chorus", `trap : USR1; sh -c 'trap "echo heard; exit 0" USR1; echo ready; while :; do sleep 0.01; done'; echo over`))
	ctx := within(t)
	p := begin(t, ctx, n1, "chorus")
	if got := line(t, ctx, p.Stdout()); got != "ready" {
		t.Fatal(got)
	}
	must(t, p.Signal(ctx, syscall.SIGUSR1))
	if got := text(t, ctx, p.Stdout()); got != "heard\nover\n" {
		t.Errorf("%q", got)
	}
	for _, bad := range []syscall.Signal{0, -1, 65} {
		if err := p.Signal(ctx, bad); !errors.Is(err, process.ErrArguments) && !errors.Is(err, process.ErrUnknownProcess) {
			t.Errorf("signal %d: %v", bad, err)
		}
	}
}

// TestHundredsAtOnceAgainstTheLimit: of 400 starts as many succeed as may run, and the others
// are told so; each has its own output and code, and nothing is left.
func TestHundredsAtOnceAgainstTheLimit(t *testing.T) {
	const starts, places = 400, 200
	limited := sh("few", "echo $1; read line; exit $2")
	limited.Children = places
	c, n1 := pair(t, limited)
	n2, ctx := c.Node("n2"), within(t)
	before := descriptors(t)
	running := make([]*process.Process, starts)
	each := func(do func(i int)) {
		var work sync.WaitGroup
		for i := range starts {
			work.Go(func() { do(i) })
		}
		work.Wait()
	}
	var refused atomic.Int64
	each(func(i int) {
		p, err := process.Start(ctx, n1, process.Command{Node: "n2", Profile: "few", Words: []string{fmt.Sprint(i), fmt.Sprint(i % 200)}})
		switch {
		case errors.Is(err, process.ErrTooMany):
			refused.Add(1)
		case err != nil:
			t.Error(err)
		default:
			running[i] = p
		}
	})
	if s := process.Counted(n2); s.Running != places || s.Started != places || s.Refused != starts-places || refused.Load() != starts-places {
		t.Errorf("%+v, %d were told", s, refused.Load())
	}
	each(func(i int) {
		if p := running[i]; p != nil {
			p.CloseStdin()
			b, err := io.ReadAll(p.Stdout().Reader(ctx))
			exit, ended := p.Wait(ctx)
			if string(b) != fmt.Sprintln(i) || err != nil || ended != nil || exit.Code != i%200 {
				t.Errorf("%d: %q, %v, %v, %v", i, b, err, exit, ended)
			}
		}
	})
	if s := process.Counted(n2); s.Running != 0 || s.Ended != 0 {
		t.Errorf("%+v", s)
	}
	p := begin(t, ctx, n1, "few", "again", "0") // their places are free
	p.CloseStdin()
	if exit, err := p.Wait(ctx); err != nil || exit.Code != 0 {
		t.Error(exit, err)
	}
	until(t, "the descriptors of the children are closed", func() bool { return descriptors(t) <= before })
}

// descriptors is how many this process has.
func descriptors(t testing.TB) int {
	list, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(list)
}
