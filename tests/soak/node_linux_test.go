package soak

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/durable"
	"github.com/loopmesh/loopmesh/loopnode"
)

// roleVariable, when set in the environment, makes this program a node.
const roleVariable = "LOOPMESH_SOAK_ROLE"

// role is what a process is told.
type role struct {
	Node, Listen, Store string
	Join                []string
}

const (
	address = "io-0"
	queue   = "mail"
	group   = "shop"
)

// The functions of every node. ran counts what durable work ran here.
var (
	ran  atomic.Uint64
	echo = cluster.Func("soak.echo", func(_ context.Context, text string) (string, error) { return text, nil })
	work = cluster.Func("soak.work", func(context.Context, string) (struct{}, error) {
		ran.Add(1)
		return struct{}{}, nil
	})
	looked = cluster.Func("soak.look", func(context.Context, struct{}) (map[string]float64, error) { return lookHere() })
)

// lookHere measures this process. Why a collection first: garbage that waits for one would
// be a saw in the line.
func lookHere() (map[string]float64, error) {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil, err
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return map[string]float64{heap: float64(m.HeapAlloc) / (1 << 20), goroutines: float64(runtime.NumGoroutine()), descriptors: float64(len(open) - 1)}, nil
}

// startNode starts a node that does durable work, except the one with the store.
func startNode(ctx context.Context, r role, more ...func(*loopnode.Config)) (*cluster.Node, loopnode.Ref, error) {
	var ref loopnode.Ref
	n, err := cluster.Start(ctx, cluster.Config{
		Name: r.Node, Listen: r.Listen, StoreDir: r.Store, Join: r.Join, AwaitNATS: len(r.Join) > 0, Logger: hclog.NewNullLogger(),
		Prepare: func(_ context.Context, n *cluster.Node) (err error) {
			ref, err = n.NewLoop(address, more...)
			return err
		},
	})
	if err != nil || r.Store != "" {
		return n, ref, err
	}
	if _, err = durable.Serve(n, group, ref); err == nil {
		_, err = durable.Work(n, queue, ref)
	}
	return n, ref, err
}

// live is a process of a role: it says where its server is, and ends when it is told to.
func live(text string) error {
	var r role
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return err
	}
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	n, _, err := startNode(ctx, r)
	if err != nil {
		return err
	}
	defer n.Close()
	fmt.Println(n.URL())
	select {
	case <-told:
		return nil
	case <-n.Done():
		return fmt.Errorf("the node ended by itself: %w", n.Reason())
	}
}

// process is a node of its own.
type process struct {
	cmd *exec.Cmd
	url string
}

// spawn starts a process and waits until it serves.
func spawn(r role) (*process, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	me, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(me, "-test.run=^$")}
	p.cmd.Env = append(os.Environ(), roleVariable+"="+string(text))
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	p.url, err = bufio.NewReader(out).ReadString('\n') // its end, if it cannot start
	if err != nil {
		p.kill()
		return nil, fmt.Errorf("%s does not serve: %w", r.Node, err)
	}
	return p, nil
}

// kill ends it as kill -9 does, and waits until it is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // gone already is as good
	_ = p.cmd.Wait()         // it says that it was killed
}
