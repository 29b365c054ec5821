package durable

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
	"github.com/loopmesh/loopmesh/cluster/names"
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
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
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

func freeAddress(t testing.TB) string {
	t.Helper()
	for port := 14000 + os.Getpid()%9000; port < 32000; port++ { // not of those that the system gives to others
		if l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port)); err == nil {
			at := l.Addr().String()
			_ = l.Close()
			return at
		}
	}
	t.Fatal("no free port")
	return ""
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
			t.Fatal(err)
		}
	}
}

// TestKillAnyProcess kills the owner, the server, the next owner and all of them at once
// while calls for later and commands run: none is lost, and none has its effect twice.
func TestKillAnyProcess(t *testing.T) {
	const count = 150
	address, folder := freeAddress(t), t.TempDir()
	server := spawn(t, "server", address, folder)
	owners := []*process{spawn(t, "o1", address, folder), spawn(t, "o2", address, folder)}
	n := start(t, cluster.Config{Name: "client", Join: []string{address}})
	ctx, cancel := context.WithTimeout(context.Background(), 150*time.Second)
	defer cancel()
	ask := func(i int) {
		key := "t" + strconv.Itoa(i)
		stubborn(t, func() error {
			return CallLater(ctx, n, key, pay, key, time.Duration(i%30)*100*time.Millisecond, Group("shop"))
		})
		key = "c" + strconv.Itoa(i)
		stubborn(t, func() error { return Send(ctx, n, "mail", key, pay, key, Key(strconv.Itoa(i%10))) })
	}
	harm := map[int]func(){
		count / 5:     owners[0].kill,
		2 * count / 5: func() { server.kill(); server.start() },
		3 * count / 5: func() { owners[0].start(); owners[1].kill() },
		4 * count / 5: func() {
			owners[0].kill()
			server.kill()
			server.start()
			owners[0].start()
			owners[1].start()
		},
	}
	for i := range count {
		if do := harm[i]; do != nil {
			do()
		}
		ask(i)
	}
	end := time.Now().Add(90 * time.Second)
	for left := -1; left != 0; {
		left = 0
		timers, err := Timers(ctx, n, "shop")
		for _, c := range timers {
			if c.State != Done {
				left++
			}
		}
		commands, err2 := Commands(ctx, n, "mail")
		left += len(commands)
		if err != nil || err2 != nil {
			left = -1
		}
		if time.Now().After(end) {
			for _, c := range timers {
				if c.State != Done {
					t.Logf("%+v", c)
				}
			}
			for _, c := range commands {
				t.Logf("%+v", c)
			}
			for _, name := range []string{"timers/shop", "queue/mail"} {
				o, err := names.Resolve(ctx, n, name)
				t.Logf("%+v, %v", o, err)
			}
			t.Fatalf("%d are left; %v %v", left, err, err2)
		}
	}
	s, err := NewSink(n, "bank")
	if err != nil {
		t.Fatal(err)
	}
	for i := range count {
		for _, kind := range []string{"t", "c"} {
			key := kind + strconv.Itoa(i)
			if b, err := s.Get(ctx, key); string(b) != "1" || err != nil {
				t.Errorf("%s had its effect %q times, %v", key, b, err)
			}
		}
	}
	if dead, err := DeadLetters(ctx, n, ""); len(dead) != 0 || err != nil {
		t.Errorf("%+v, %v", dead, err)
	}
	raw, err := os.ReadFile(filepath.Join(folder, "runs"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d effects, %d runs", 2*count, strings.Count(string(raw), "\n"))
}
