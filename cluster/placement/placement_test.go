package placement

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/groups"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
	"github.com/loopmesh/loopmesh/cluster/internal/lease"
	"github.com/loopmesh/loopmesh/cluster/names"
	"github.com/loopmesh/loopmesh/internal/leaktest"
	"github.com/loopmesh/loopmesh/internal/testport"
	"github.com/loopmesh/loopmesh/loopnode"
)

func TestMain(m *testing.M) {
	if at := os.Getenv(victimVariable); at != "" {
		beVictim(at)
	}
	goleak.VerifyTestMain(leaktest.Late{M: m})
}

// victimVariable makes the test binary a node that serves a kind which ends its process;
// its value is the address to join.
const victimVariable = "LOOPMESH_TEST_VICTIM"

// seenBy is how many calls of the supervisor end while an instance runs until the supervisor
// surely knows it: the order to start it, a question that was answered just before it ran, one
// that was answered with it, and the next one, which is asked when that answer is there.
const seenBy = 4

func beVictim(at string) {
	n, err := cluster.Start(context.Background(), cluster.Config{Name: "victim", Join: []string{at}, Logger: hclog.NewNullLogger(), Heartbeat: 50 * time.Millisecond, DeadAfter: 500 * time.Millisecond})
	if err == nil {
		var loop loopnode.Ref
		if loop, err = n.NewLoop("io-0"); err == nil {
			_, err = Serve(n, loop, Kind{Name: "poison", Run: func(ctx context.Context, _ string, _ *names.Ownership) error {
				for from := n.Stats().Served; n.Stats().Served < from+seenBy; { // the supervisor has to see that it runs
					_ = loopnode.Sleep(ctx, 10*time.Millisecond)
				}
				os.Exit(3)
				return nil
			}})
		}
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	select {}
}

// TestAnInstanceThatKillsItsNodeHasABudget: each death of its node counts, and in the end it
// is not started any more.
func TestAnInstanceThatKillsItsNodeHasABudget(t *testing.T) {
	store, nodes := stored(t, 1)
	serving(t, nodes[0], newBoard(t).kind("a"))
	until(t, "there is a supervisor", func() bool { _, err := names.Resolve(testCtx(t), store, hostsGroup); return err == nil })
	if err := Want(testCtx(t), store, "poison", "x", Restarts(1, time.Hour)); err != nil {
		t.Fatal(err)
	}
	deaths, failed := 0, func() bool {
		list, err := List(testCtx(t), store)
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		return list[0].State == Failed
	}
	for ; deaths < 2; deaths++ {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), victimVariable+"="+strings.TrimPrefix(store.URL(), "nats://"))
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		if failed() {
			t.Fatal("the budget is one failure, it has failed after", deaths)
		}
		end := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
		err := cmd.Run()
		end.Stop()
		if cmd.ProcessState.ExitCode() != 3 {
			t.Fatal("the node of the instance:", err)
		}
	}
	until(t, "it has failed", failed)
}

func testCtx(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func start(t testing.TB, cfg cluster.Config) *cluster.Node {
	t.Helper()
	cfg.Logger = hclog.NewNullLogger()
	cfg.Heartbeat, cfg.DeadAfter = 50*time.Millisecond, 500*time.Millisecond
	n, err := cluster.Start(testCtx(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	n.Inside(inside.Key{}).Lease = lease.Config{TTL: 2 * time.Second, Renew: 300 * time.Millisecond, Retry: 100 * time.Millisecond, Margin: 300 * time.Millisecond}
	t.Cleanup(n.Close)
	return n
}

// stored starts the node that keeps the store, and count others named a, b, …
func stored(t testing.TB, count int) (store *cluster.Node, nodes []*cluster.Node) {
	t.Helper()
	store = start(t, cluster.Config{Name: "store", StoreDir: t.TempDir(), Listen: "127.0.0.1:0"})
	for i := range count {
		nodes = append(nodes, start(t, cluster.Config{Name: string(rune('a' + i)), Join: []string{strings.TrimPrefix(store.URL(), "nats://")}}))
	}
	return store, nodes
}

func newLoop(t testing.TB, n *cluster.Node, name string) loopnode.Ref {
	t.Helper()
	ref, err := n.NewLoop(name, func(c *loopnode.Config) { c.Logger = hclog.NewNullLogger() })
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func serving(t testing.TB, n *cluster.Node, kinds ...Kind) *Server {
	t.Helper()
	s, err := Serve(n, newLoop(t, n, "io-0"), kinds...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick, limit := time.NewTicker(10*time.Millisecond), time.NewTimer(time.Minute)
	defer tick.Stop()
	defer limit.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("not so after a minute: %s", what)
		}
	}
}

func wantIs(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

// board says what runs where, as the instances themselves tell; it reports two at a time.
type board struct {
	t     *testing.T
	mu    sync.Mutex
	runs  map[string]string // instance: node
	all   map[string]int    // how often an instance has begun
	token map[string]uint64
}

func newBoard(t *testing.T) *board {
	return &board{t: t, runs: map[string]string{}, all: map[string]int{}, token: map[string]uint64{}}
}

// kind runs until its ctx ends.
func (b *board) kind(node string) Kind {
	return Kind{Name: "shard", Run: func(ctx context.Context, name string, o *names.Ownership) error {
		b.enter(node, name, o.Token())
		defer b.leave(name)
		return loopnode.WaitDone(ctx)
	}}
}

func (b *board) enter(node, name string, token uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if on := b.runs[name]; on != "" {
		b.t.Errorf("%s runs on %s and begins on %s", name, on, node)
	}
	if token <= b.token[name] {
		b.t.Errorf("the token of %s is %d after %d", name, token, b.token[name])
	}
	b.runs[name], b.token[name] = node, token
	b.all[name]++
}

func (b *board) leave(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.runs, name)
}

// on counts what runs on each node.
func (b *board) on() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := map[string]int{}
	for _, node := range b.runs {
		out[node]++
	}
	return out
}

// where is the node on which an instance runs.
func (b *board) where(name string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.runs[name]
}

func (b *board) running() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.runs)
}

// wanting wants so many instances s0, s1, …
func wanting(t testing.TB, n *cluster.Node, count int) {
	t.Helper()
	for i := range count {
		if err := Want(testCtx(t), n, "shard", fmt.Sprint("s", i)); err != nil {
			t.Fatal(err)
		}
	}
}

// knowHosts waits until each of these nodes, which serve, knows that all of them do: any of
// them may be the supervisor, and it places on those that it knows.
func knowHosts(t testing.TB, nodes []*cluster.Node) {
	t.Helper()
	for _, n := range nodes {
		until(t, n.Name()+" knows all hosts", func() bool { return len(groups.Members(n, hostsGroup)) == len(nodes) })
	}
}

func TestInstancesAreSpread(t *testing.T) {
	store, nodes := stored(t, 3)
	b := newBoard(t)
	for _, n := range nodes {
		serving(t, n, b.kind(n.Name()))
	}
	knowHosts(t, nodes)
	wanting(t, store, 9)
	until(t, "all of them run", func() bool { return b.running() == 9 })
	for node, n := range b.on() {
		if n < 2 || n > 4 { // a plan is made of what the hosts have told, one after another
			t.Errorf("%s has %d of nine", node, n)
		}
	}
	list, err := List(testCtx(t), store)
	if err != nil || len(list) != 9 {
		t.Fatal(list, err)
	}
	for _, p := range list {
		if on := b.where(p.Name); p.State != Wanted || p.Node == "" || p.Token == 0 || p.Node != on {
			t.Errorf("listed: %+v, it runs on %s", p, on)
		}
	}
	if err := Drop(testCtx(t), store, "shard", "s3"); err != nil {
		t.Fatal(err)
	}
	until(t, "what is dropped ends", func() bool { return b.running() == 8 })
	wantIs(t, Drop(testCtx(t), store, "shard", "s3"), ErrNotWanted)
	wanting(t, store, 9)
	until(t, "what is wanted again runs", func() bool { return b.running() == 9 })
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, n := range b.all {
		if want := map[bool]int{true: 2, false: 1}[name == "s3"]; n != want {
			t.Errorf("%s began %d times, want %d: what runs is left alone", name, n, want)
		}
	}
}

// TestTheNodeOfAnInstanceCloses closes nodes one after another, the supervisor's among
// them; what they had runs on the others.
func TestTheNodeOfAnInstanceCloses(t *testing.T) {
	store, nodes := stored(t, 3)
	b := newBoard(t)
	for _, n := range nodes {
		serving(t, n, b.kind(n.Name()))
	}
	wanting(t, store, 6)
	for left := 3; left > 1; left-- {
		until(t, "all of them run", func() bool { return b.running() == 6 })
		boss, err := names.Resolve(testCtx(t), store, hostsGroup)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range nodes {
			if n.Name() == boss.Node {
				n.Close()
			}
		}
		until(t, "the others have all of them", func() bool { return b.running() == 6 && b.on()[boss.Node] == 0 })
	}
}

// TestTheNodesOfInstancesAreCutOff: their server is gone for a while, nobody hears of anybody.
// When it is back, everything runs, and nothing has run twice at a time.
func TestTheNodesOfInstancesAreCutOff(t *testing.T) {
	dir, at := t.TempDir(), testport.Address(t)
	first, err := cluster.Start(testCtx(t), cluster.Config{Name: "store", StoreDir: dir, Listen: at, Logger: hclog.NewNullLogger(), Heartbeat: 50 * time.Millisecond, DeadAfter: 500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	b := newBoard(t)
	for _, name := range []string{"a", "b"} {
		serving(t, start(t, cluster.Config{Name: name, Join: []string{at}}), b.kind(name))
	}
	wanting(t, first, 4)
	until(t, "all of them run", func() bool { return b.running() == 4 })
	first.Close()
	until(t, "nobody owns anything without the store", func() bool { return b.running() == 0 })
	again := start(t, cluster.Config{Name: "store", StoreDir: dir, Listen: at})
	until(t, "all of them run again", func() bool { return b.running() == 4 })
	list, err := List(testCtx(t), again)
	if err != nil || len(list) != 4 {
		t.Error(list, err)
	}
	for _, p := range list {
		if len(p.Failures) != 0 {
			t.Errorf("to be cut off is no failure of an instance: %+v", p)
		}
	}
}

func TestAFailingInstanceSpendsItsBudget(t *testing.T) {
	store, nodes := stored(t, 2)
	var mu sync.Mutex
	begun, on := 0, map[string]bool{}
	fails := func(node string) Kind {
		return Kind{Name: "shard", Run: func(_ context.Context, name string, _ *names.Ownership) error {
			mu.Lock()
			begun++
			on[node] = true
			n := begun
			mu.Unlock()
			switch n % 3 {
			case 0:
				panic("it panics")
			case 1:
				runtime.Goexit()
			}
			return errors.New("it fails")
		}}
	}
	for _, n := range nodes {
		serving(t, n, fails(n.Name()))
	}
	knowHosts(t, nodes)
	if err := Want(testCtx(t), store, "shard", "x", Restarts(3, time.Minute)); err != nil {
		t.Fatal(err)
	}
	state := func() Placement {
		list, err := List(testCtx(t), store)
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		return list[0]
	}
	// That it has failed is written while its last node still gives up its name.
	until(t, "it has failed, and its name is free", func() bool { p := state(); return p.State == Failed && p.Node == "" })
	mu.Lock()
	if begun != 4 || len(on) != 2 {
		t.Errorf("it began %d times, on %v; the budget is 3 failures, and the next try is elsewhere", begun, on)
	}
	mu.Unlock()
	if p := state(); len(p.Failures) != 4 || p.Error == "" {
		t.Errorf("listed: %+v", p)
	}
	if err := Want(testCtx(t), store, "shard", "x", Restarts(0, time.Minute)); err != nil {
		t.Fatal(err)
	}
	until(t, "it has begun anew and failed again", func() bool { p := state(); return p.State == Failed && len(p.Failures) == 1 })
}

func TestAnInstanceFinishes(t *testing.T) {
	store, nodes := stored(t, 1)
	var mu sync.Mutex
	begun := 0
	s := serving(t, nodes[0], Kind{Name: "shard", Run: func(context.Context, string, *names.Ownership) error {
		mu.Lock()
		defer mu.Unlock()
		begun++
		return nil
	}})
	if err := Want(testCtx(t), store, "shard", "x"); err != nil {
		t.Fatal(err)
	}
	until(t, "it has finished, and its node has forgotten it", func() bool {
		list, err := List(testCtx(t), store)
		return err == nil && len(list) == 1 && list[0].State == Finished && len(s.report().Has) == 0
	})
	mu.Lock()
	defer mu.Unlock()
	if begun != 1 {
		t.Errorf("it began %d times", begun)
	}
}

// TestAServerStops: its instances end with Stop, and go to the next one.
func TestAServerStops(t *testing.T) {
	store, nodes := stored(t, 2)
	b := newBoard(t)
	servers := []*Server{serving(t, nodes[0], b.kind("a")), serving(t, nodes[1], b.kind("b"))}
	wanting(t, store, 4)
	until(t, "all of them run", func() bool { return b.running() == 4 })
	servers[0].Stop()
	servers[0].Stop()
	if n := b.on()["a"]; n != 0 {
		t.Errorf("%d instances run behind Stop", n)
	}
	until(t, "the other one has all", func() bool { return b.on()["b"] == 4 })
	loop, _ := nodes[0].Loop("io-0")
	if _, err := Serve(nodes[0], loop, b.kind("a")); err != nil {
		t.Error("a loop serves again:", err)
	}
}

func TestWhatIsRefused(t *testing.T) {
	store, nodes := stored(t, 1)
	ctx := testCtx(t)
	var none context.Context
	kind := newBoard(t).kind("a")
	loop := newLoop(t, nodes[0], "io-0")
	for _, bad := range []string{"", "a/b", "a\nb", "\xff", strings.Repeat("x", maxName+1)} {
		wantIs(t, Want(ctx, store, bad, "x"), ErrBadName)
		wantIs(t, Want(ctx, store, "shard", bad), ErrBadName)
		_, err := Serve(nodes[0], loop, Kind{Name: bad, Run: kind.Run})
		wantIs(t, err, ErrBadName)
	}
	wantIs(t, Want(none, store, "shard", "x"), cluster.ErrConfig)
	wantIs(t, Want(ctx, nil, "shard", "x"), cluster.ErrConfig)
	wantIs(t, Want(ctx, store, "shard", "x", Restarts(-1, time.Second)), cluster.ErrConfig)
	wantIs(t, Want(ctx, store, "shard", "x", Restarts(1, 0)), cluster.ErrConfig)
	wantIs(t, Drop(ctx, store, "shard", "x"), ErrNotWanted)
	_, err := List(ctx, nil)
	wantIs(t, err, cluster.ErrConfig)
	for _, kinds := range [][]Kind{nil, {{Name: "x"}}, {kind, kind}} {
		_, err := Serve(nodes[0], loop, kinds...)
		wantIs(t, err, cluster.ErrConfig)
	}
	_, err = Serve(nil, loop, kind)
	wantIs(t, err, cluster.ErrConfig)
	far, err := store.Ref("a/io-0")
	if err != nil {
		t.Fatal(err)
	}
	if _, local := far.Local(); !local {
		_, err = Serve(store, far, kind)
		wantIs(t, err, cluster.ErrConfig)
	}
	if _, err := Serve(nodes[0], loop, kind); err != nil {
		t.Fatal(err)
	}
	_, err = Serve(nodes[0], loop, kind)
	wantIs(t, err, cluster.ErrConfig)
	_, err = startFunc.Via(store).Call(ctx, far, id{"other", "x"})
	if err == nil {
		t.Error("a kind that is not served was started")
	}
}
