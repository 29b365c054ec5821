package drain

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/durable"
	"github.com/loopmesh/loopmesh/cluster/groups"
)

// Real processes: this test binary runs itself as a node, which drains at SIGTERM.

const (
	roleVariable   = "LOOPMESH_TEST_ROLE"
	joinVariable   = "LOOPMESH_TEST_JOIN"
	folderVariable = "LOOPMESH_TEST_FOLDER"
)

// noted leaves a line in a file for each run of a command: what the test counts.
var noted = cluster.Func("drain.noted", func(ctx context.Context, id string) (struct{}, error) {
	n, _ := cluster.NodeOf(ctx)
	f, err := os.OpenFile(filepath.Join(os.Getenv(folderVariable), n.Name()), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return struct{}{}, err
	}
	defer func() { _ = f.Close() }()
	_, err = f.WriteString(id + "\n")
	return struct{}{}, err
})

// live is a node of the test in a process of its own.
func live(role string) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	fail := func(err error) {
		if err != nil {
			fmt.Println("FAILED:", err)
			os.Exit(1)
		}
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	n, err := cluster.Start(ctx, cluster.Config{
		Name: role, Join: []string{os.Getenv(joinVariable)}, Logger: hclog.NewNullLogger(), Heartbeat: 100 * time.Millisecond, DeadAfter: 5 * time.Second,
		Prepare: func(_ context.Context, n *cluster.Node) error {
			loop, err := n.NewLoop("io")
			if err != nil {
				return err
			}
			if _, err := groups.Join(n, "io", loop); err != nil {
				return err
			}
			_, err = durable.Work(n, "q", loop)
			return err
		},
	})
	fail(err)
	fmt.Println("up")
	select {
	case <-signals:
	case <-ctx.Done():
	}
	fail(Node(ctx, n, OnProgress(func(p Progress) { fmt.Println(p) })))
	fmt.Println("drained")
}

// process is a running node.
type process struct {
	cmd   *exec.Cmd
	lines chan string
}

func spawn(t *testing.T, name, join, folder string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0]), lines: make(chan string, 100)}
	p.cmd.Env = append(os.Environ(), roleVariable+"="+name, joinVariable+"="+join, folderVariable+"="+folder)
	out, err := p.cmd.StdoutPipe()
	must(t, err)
	must(t, p.cmd.Start())
	go func() {
		defer close(p.lines)
		for in := bufio.NewScanner(out); in.Scan(); {
			p.lines <- in.Text()
		}
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		for range p.lines { // until it has ended
		}
		_ = p.cmd.Wait()
	})
	if line := <-p.lines; line != "up" {
		t.Fatalf("%s says %q", name, line)
	}
	return p
}

// TestARollingRestartUnderLoad: three processes are drained and replaced, one after the
// other, twice, while calls of their group and commands go on. No call fails, and no
// command that was acknowledged is lost.
func TestARollingRestartUnderLoad(t *testing.T) {
	store, _ := group(t)
	join, folder := strings.TrimPrefix(store.URL(), "nats://"), t.TempDir()
	names := []string{"n1", "n2", "n3"}
	running := map[string]*process{}
	for _, name := range names {
		running[name] = spawn(t, name, join, folder)
	}
	until(t, "all are in the group", func() bool { return len(groups.Members(store, "io")) == 3 })
	var called, sent atomic.Int64
	var load sync.WaitGroup
	ctx, stop := context.WithCancel(testCtx(t))
	defer load.Wait()
	defer stop()
	// Half of the callers say that a call may run twice: none of theirs fails. The others hear it
	// when a call came behind the goodbye of its node, which answers nothing then: rarely, each
	// of the two at most once in a restart, and as what it is.
	var unsure atomic.Int64
	for i := range 4 {
		var opts []groups.Option
		if i%2 == 0 {
			opts = append(opts, groups.Idempotent())
		}
		load.Go(func() {
			for ctx.Err() == nil {
				_, err := groups.Call(testCtx(t), store, "io", whoami, "", opts...)
				switch {
				case err == nil:
					called.Add(1)
				case opts != nil || !errors.Is(err, cluster.ErrNodeDown) || unsure.Add(1) > 2*6: // restarts
					t.Error("a call of the group:", err)
					return
				}
			}
		})
	}
	load.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			id := fmt.Sprint("c", i)
			if err := durable.Send(testCtx(t), store, "q", id, noted, id, durable.Key(fmt.Sprint(i%8))); err != nil {
				t.Error("sending a command:", err)
				return
			}
			sent.Add(1)
		}
	})
	for round := range 2 {
		for _, name := range names {
			before := called.Load()
			until(t, "calls go on", func() bool { return called.Load() > before+100 || t.Failed() })
			begun := time.Now()
			p := running[name]
			must(t, p.cmd.Process.Signal(syscall.SIGTERM))
			last := ""
			for line := range p.lines {
				last = line
			}
			if err := p.cmd.Wait(); err != nil || last != "drained" {
				t.Fatalf("%s: %v, %q", name, err, last)
			}
			took := time.Since(begun)
			running[name] = spawn(t, name, join, folder)
			t.Logf("round %d: %s drained in %v", round+1, name, took.Round(time.Millisecond))
		}
	}
	stop()
	load.Wait()
	until(t, "all commands have run", func() bool {
		list, err := durable.Commands(testCtx(t), store, "q")
		return err == nil && len(list) == 0
	})
	runs := map[string]int{}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		for _, id := range strings.Fields(string(text)) {
			runs[id]++
		}
	}
	twice := 0
	for i := range int(sent.Load()) {
		switch n := runs[fmt.Sprint("c", i)]; {
		case n == 0:
			t.Errorf("command c%d was acknowledged and is lost", i)
		case n > 1:
			twice++
		}
	}
	if dead, err := durable.DeadLetters(testCtx(t), store, "q"); err != nil || len(dead) > 0 {
		t.Error(len(dead), "dead letters", err)
	}
	t.Logf("%d calls, %d commands, %d of them ran twice, over 6 restarts", called.Load(), sent.Load(), twice)
	if twice > 0 {
		t.Error("an orderly restart runs no command twice")
	}
}
