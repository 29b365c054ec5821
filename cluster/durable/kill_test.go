package durable

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
	"github.com/loopmesh/loopmesh/internal/testport"
	"github.com/loopmesh/loopmesh/loopnode"
)

// Processes that are killed: this test binary runs itself, with a role.

const (
	roleVariable    = "LOOPMESH_TEST_ROLE"    // server, or the name of an owner
	addressVariable = "LOOPMESH_TEST_ADDRESS" // of the server
	folderVariable  = "LOOPMESH_TEST_FOLDER"
)

// pay is a payment that must happen once: it counts a key of a sink up. Each run leaves
// a line in a file, too, so the test knows how many there were.
var pay = cluster.Func("durable.pay", func(ctx context.Context, key string) (struct{}, error) {
	run, _ := RunOf(ctx)
	n, ok := cluster.NodeOf(ctx)
	if !ok {
		return struct{}{}, errors.New("no node")
	}
	s, err := NewSink(n, "bank")
	if err != nil {
		return struct{}{}, err
	}
	if f := os.Getenv(folderVariable); f != "" {
		if err := appendLine(filepath.Join(f, "runs"), key); err != nil {
			return struct{}{}, err
		}
	}
	return struct{}{}, s.Apply(ctx, run, add(key))
})

func appendLine(path, line string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line + "\n")
	return errors.Join(err, f.Close())
}

// live is the process of a role: it says that it is ready, and ends when its stdin does.
func live(role string) {
	cfg := cluster.Config{Name: role, Logger: hclog.NewNullLogger(), Heartbeat: 50 * time.Millisecond, DeadAfter: 500 * time.Millisecond}
	if role == "server" {
		cfg.Listen, cfg.StoreDir = os.Getenv(addressVariable), filepath.Join(os.Getenv(folderVariable), "store")
	} else {
		cfg.Join = []string{os.Getenv(addressVariable)}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	n, err := cluster.Start(ctx, cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer n.Close()
	n.Inside(inside.Key{}).Lease = brief
	if role != "server" {
		ref, err := n.NewLoop("io-0", func(c *loopnode.Config) { c.Logger = hclog.NewNullLogger() })
		if err == nil {
			_, err = Serve(n, "shop", ref)
		}
		if err == nil {
			_, err = Work(n, "mail", ref)
		}
		if err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// process is one of them.
type process struct {
	t       testing.TB
	role    string
	env     []string
	command *exec.Cmd
	stdin   io.Closer
}

func spawn(t testing.TB, role, address, folder string) *process {
	p := &process{t: t, role: role, env: append(os.Environ(), roleVariable+"="+role, addressVariable+"="+address, folderVariable+"="+folder)}
	p.start()
	t.Cleanup(p.kill)
	return p
}

func (p *process) start() {
	p.t.Helper()
	p.command = exec.Command(os.Args[0], "-test.run=^$")
	p.command.Env, p.command.Stderr = p.env, os.Stderr
	in, err := p.command.StdinPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	out, err := p.command.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	p.stdin = in
	if err := p.command.Start(); err != nil {
		p.t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		p.t.Fatalf("%s: %q, %v", p.role, line, err)
	}
}

// kill ends it as kill -9 does, and waits until it is gone.
func (p *process) kill() {
	if p.command == nil {
		return
	}
	_ = p.command.Process.Kill() // gone already is as good
	_ = p.command.Wait()         // it was killed
	p.command = nil
}

// stubborn repeats a request, which has an id, until the store has answered.
func stubborn(t testing.TB, ask func() error) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); ; {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Error(err)
			return
		}
	}
}

var (
	killTimers   = flag.Int("kill-timers", 150, "calls for later in TestKillAnyProcess")
	killCommands = flag.Int("kill-commands", 150, "commands in TestKillAnyProcess")
	killLimit    = flag.Duration("kill-limit", 90*time.Second, "how long TestKillAnyProcess waits for what is left at its end")
)

// crowd calls do for 0 to count-1, some at a time.
func crowd(count int, do func(i int)) {
	var all sync.WaitGroup
	var next atomic.Int64
	for range min(32, max(1, count/1000)) {
		all.Go(func() {
			for i := next.Add(1) - 1; i < int64(count); i = next.Add(1) - 1 {
				do(int(i))
			}
		})
	}
	all.Wait()
}

// TestKillAnyProcess kills the owner, the server, the next owner and all of them at once
// while calls for later and commands run: none is lost, and none has its effect twice.
func TestKillAnyProcess(t *testing.T) {
	address, folder := testport.Address(t), t.TempDir()
	server := spawn(t, "server", address, folder)
	owners := []*process{spawn(t, "o1", address, folder), spawn(t, "o2", address, folder)}
	n := start(t, cluster.Config{Name: "client", Join: []string{address}})
	count := *killTimers + *killCommands
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute+time.Duration(count)*20*time.Millisecond)
	defer cancel()
	// The key of an effect: t1, t2, … of calls for later, c1, c2, … of commands, mixed.
	key := func(i int) string {
		if least := min(*killTimers, *killCommands); i < 2*least {
			return string("tc"[i%2]) + strconv.Itoa(i/2)
		}
		return string("tc"[map[bool]int{true: 0, false: 1}[*killTimers > *killCommands]]) + strconv.Itoa(i-min(*killTimers, *killCommands))
	}
	ask := func(i int) {
		id := key(i)
		if id[0] == 't' {
			stubborn(t, func() error {
				return CallLater(ctx, n, id, pay, id, time.Duration(i%60)*50*time.Millisecond, Group("shop"))
			})
			return
		}
		stubborn(t, func() error { return Send(ctx, n, "mail", id, pay, id, Key(strconv.Itoa(i%20))) })
	}
	harm := []func(){
		owners[0].kill,
		func() { server.kill(); server.start() },
		func() { owners[0].start(); owners[1].kill() },
		func() {
			owners[0].kill()
			server.kill()
			server.start()
			owners[0].start()
			owners[1].start()
		},
	}
	begun := time.Now()
	for part := range 5 {
		from, to := part*count/5, (part+1)*count/5
		crowd(to-from, func(i int) {
			if part > 0 && i == (to-from)/2 { // in the middle of the others' requests
				harm[part-1]()
			}
			ask(from + i)
		})
	}
	t.Logf("%d requests were stored within %v", count, time.Since(begun).Round(time.Millisecond))
	s, err := NewSink(n, "bank")
	if err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(*killLimit)
	crowd(count, func(i int) { waitForEffect(ctx, t, s, key(i), end) })
	until(t, "no command is left", func() bool { left, err := Commands(ctx, n, "mail"); return err == nil && len(left) == 0 })
	t.Logf("all effects were there after %v", time.Since(begun).Round(time.Millisecond))
	crowd(count, func(i int) {
		if b, err := s.Get(ctx, key(i)); string(b) != "1" || err != nil {
			t.Errorf("%s had its effect %q times, %v", key(i), b, err)
		}
	})
	if dead, err := DeadLetters(ctx, n, ""); len(dead) != 0 || err != nil {
		t.Errorf("%+v, %v", dead, err)
	}
	raw, err := os.ReadFile(filepath.Join(folder, "runs"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d effects, %d runs", count, strings.Count(string(raw), "\n"))
}

// waitForEffect waits until a payment has been made.
func waitForEffect(ctx context.Context, t *testing.T, s *Sink, key string, end time.Time) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for time.Now().Before(end) {
		if b, err := s.Get(ctx, key); err == nil && b != nil {
			return
		}
		<-tick.C
	}
	t.Errorf("%s has had no effect", key)
}
