package multinode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

var (
	errPoor = cluster.RegisterError("multinode.poor", errors.New("not enough money"))

	where = cluster.Func("multinode.where", func(ctx context.Context, _ struct{}) (string, error) {
		l, err := loopnode.Running(ctx)
		if err != nil {
			return "", err
		}
		n, _ := cluster.NodeOf(ctx)
		return n.Name() + "/" + l.Name(), nil
	})
	// relay calls where on another loop, from inside a loop.
	relay = cluster.Func("multinode.relay", func(ctx context.Context, to string) (string, error) {
		n, _ := cluster.NodeOf(ctx)
		ref, err := n.Ref(to)
		if err != nil {
			return "", err
		}
		return where.Call(ctx, ref, struct{}{})
	})
	pay = cluster.Func("multinode.pay", func(context.Context, int) (int, error) {
		return 0, fmt.Errorf("paying: %w", errPoor)
	})
	forever = cluster.Func("multinode.forever", func(ctx context.Context, _ struct{}) (int, error) {
		begun <- struct{}{}
		err := loopnode.Sleep(ctx, time.Hour)
		ended <- err
		return 0, err
	})
	note = cluster.Func("multinode.note", func(_ context.Context, text string) (int, error) {
		notes <- text
		return 0, nil
	})

	begun = make(chan struct{}, 16)
	ended = make(chan error, 16)
	notes = make(chan string, 256)
)

// three starts n1, n2 and n3 with a loop io-0 each.
func three(t *testing.T) [3]*cluster.Node {
	var nodes [3]*cluster.Node
	for i := range nodes {
		cfg := cluster.Config{Name: fmt.Sprintf("n%d", i+1), Heartbeat: 200 * time.Millisecond, DeadAfter: 2 * time.Second}
		if i > 0 {
			cfg.Beside = nodes[0]
		}
		nodes[i] = join(t, cfg)
		newLoop(t, nodes[i], "io-0")
	}
	for _, n := range nodes {
		waitMembers(t, n, len(nodes))
	}
	return nodes
}

func TestThreeNodes(t *testing.T) {
	nodes := three(t)
	ctx := testCtx(t)
	t.Run("every node calls every node", func(t *testing.T) {
		for _, from := range nodes {
			for _, to := range nodes {
				at := to.Name() + "/io-0"
				if got, err := where.Via(from).Call(ctx, refTo(t, from, at), struct{}{}); got != at || err != nil {
					t.Errorf("from %s: %q, %v", from.Name(), got, err)
				}
			}
		}
	})
	t.Run("a called function calls on, back to where the call came from", func(t *testing.T) {
		for _, back := range []string{"n1/io-0", "n3/io-0", "n2/io-0"} {
			if got, err := relay.Via(nodes[0]).Call(ctx, refTo(t, nodes[0], "n2/io-0"), back); got != back || err != nil {
				t.Errorf("%q, %v", got, err)
			}
		}
	})
	t.Run("an error keeps its identity", func(t *testing.T) {
		if _, err := pay.Via(nodes[2]).Call(ctx, refTo(t, nodes[2], "n1/io-0"), 1); !errors.Is(err, errPoor) || !strings.Contains(err.Error(), "n1/io-0") {
			t.Error(err)
		}
	})
	t.Run("whoever gives up cancels the task on the other node", func(t *testing.T) {
		short, cancel := context.WithCancel(ctx)
		result := make(chan error, 1)
		go func() {
			_, err := forever.Via(nodes[0]).Call(short, refTo(t, nodes[0], "n3/io-0"), struct{}{})
			result <- err
		}()
		receive(t, "the call to begin", begun)
		cancel()
		if err := receive(t, "the caller", result); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if err := receive(t, "the callee", ended); !errors.Is(err, loopnode.ErrCancelled) {
			t.Error(err)
		}
	})
	t.Run("calls without an answer keep their order", func(t *testing.T) {
		ref := refTo(t, nodes[1], "n3/io-0")
		for i := range 100 {
			if err := note.Via(nodes[1]).CallSoon(testCtx(t), ref, fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 100 {
			if got := receive(t, "a note", notes); got != fmt.Sprint(i) {
				t.Fatalf("%s came at %d", got, i)
			}
		}
	})
	t.Run("calls with a delay come late, and the shorter one first", func(t *testing.T) {
		ref, begin := refTo(t, nodes[0], "n2/io-0"), time.Now()
		late := note.Via(nodes[0])
		if err := errors.Join(late.CallLater(testCtx(t), ref, 300*time.Millisecond, "later"), late.CallAt(testCtx(t), ref, begin.Add(100*time.Millisecond), "at"), late.CallSoon(testCtx(t), ref, "soon")); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"soon", "at", "later"} {
			if got := receive(t, "a note", notes); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
		if took := time.Since(begin); took < 300*time.Millisecond {
			t.Errorf("all after %v", took)
		}
	})
	t.Run("an absent node is an error at once, absent loops and functions are named", func(t *testing.T) {
		for at, want := range map[string]error{"n9/io-0": cluster.ErrUnknownNode, "n2/io-9": cluster.ErrUnknownLoop, "n2@1/io-0": cluster.ErrDeadIncarnation} {
			if _, err := where.Via(nodes[0]).Call(ctx, refTo(t, nodes[0], at), struct{}{}); !errors.Is(err, want) {
				t.Errorf("%s: %v", at, err)
			}
		}
	})
}

// keeper is a protocol that hands its transport over.
type keeper struct {
	made chan transportactors.Transport
}

func (k *keeper) ConnectionMade(t transportactors.Transport) { k.made <- t }
func (k *keeper) DataReceived([]byte)                        {}
func (k *keeper) ConnectionLost(error)                       {}

func TestAConnectionIsWrittenToFromAnotherNode(t *testing.T) {
	nodes := three(t)
	loop, _ := nodes[2].Loop("io-0")
	l, _ := loop.Local()
	k := &keeper{make(chan transportactors.Transport, 1)}
	ctx := testCtx(t)
	address := make(chan string, 1)
	refs := make(chan string, 1)
	serve := func() {
		task := loopnode.CreateTask(l.Context(ctx), "serve", func(ctx context.Context) (int, error) {
			s, err := transportactors.CreateServer(ctx, func() transportactors.Protocol { return k }, "tcp", "127.0.0.1:0")
			if err != nil {
				address <- err.Error()
				return 0, err
			}
			address <- s.Addrs()[0].String()
			return 0, nil
		})
		task.AddDoneCallback(func(f *loopnode.Future[int]) { _, _ = f.Result() })
	}
	if err := l.Ref().CallSoonThreadsafe(serve); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", receive(t, "the server", address))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	tr := receive(t, "the connection", k.made)
	if err := l.Ref().CallSoonThreadsafe(func() { refs <- tr.Ref().Address().Path }); err != nil {
		t.Fatal(err)
	}
	target := "n3/" + receive(t, "its address", refs)
	far, err := nodes[0].Transport(ctx, target)
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	for i := range 50 {
		line := fmt.Sprintf("line %d from n1\n", i)
		want.WriteString(line)
		if err := far.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	far.Close()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); string(got) != want.String() || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	receive(t, "the end of the stream", far.Done())
	if err := far.Err(); !errors.Is(err, cluster.ErrClosed) {
		t.Errorf("the stream ended with %v", err)
	}
	until(t, "the address leads nowhere", func() bool {
		_, err := nodes[0].Transport(ctx, target)
		return errors.Is(err, cluster.ErrUnknownTransport)
	})
}

func TestANodeLeaves(t *testing.T) {
	nodes := three(t)
	there, elsewhere := watched(t, nodes[0], "n2/io-0"), watched(t, nodes[0], "n3/io-0")
	down := make(chan error, 1)
	go func() {
		_, err := forever.Via(nodes[0]).Call(testCtx(t), refTo(t, nodes[0], "n2/io-0"), struct{}{})
		down <- err
	}()
	receive(t, "the call to begin", begun)
	nodes[1].Close()
	receive(t, "the task there to end", ended)
	if err := receive(t, "the call", down); !errors.Is(err, cluster.ErrClosed) {
		t.Error(err)
	}
	wantEnd(t, there, cluster.ErrStopped)
	waitMembers(t, nodes[0], 2)
	waitMembers(t, nodes[2], 2)
	if _, err := where.Via(nodes[2]).Call(testCtx(t), refTo(t, nodes[2], "n2/io-0"), struct{}{}); !errors.Is(err, cluster.ErrUnknownNode) {
		t.Error(err)
	}
	if got, err := where.Via(nodes[0]).Call(testCtx(t), refTo(t, nodes[0], "n3/io-0"), struct{}{}); got != "n3/io-0" || err != nil {
		t.Error(got, err)
	}
	select {
	case e := <-elsewhere:
		t.Errorf("%v", e)
	case e := <-there:
		t.Errorf("a second notice: %v", e)
	default:
	}
}

// proxy passes bytes between a node and its NATS server until a test closes the
// connections.
type proxy struct {
	net.Listener
	to   string
	mu   sync.Mutex
	cut  bool
	ends []net.Conn
	work sync.WaitGroup
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &proxy{Listener: l, to: to}
	c.work.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil || !c.plug(near, far) {
				_ = near.Close()
				continue
			}
			c.work.Go(func() { _, _ = io.Copy(far, near); _ = far.Close() })
			c.work.Go(func() { _, _ = io.Copy(near, far); _ = near.Close() })
		}
	})
	t.Cleanup(func() {
		c.tear()
		_ = l.Close()
		c.work.Wait()
	})
	return c
}

func (c *proxy) plug(ends ...net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ends = append(c.ends, ends...)
	if c.cut {
		for _, e := range ends {
			_ = e.Close()
		}
	}
	return !c.cut
}

// tear cuts every connection and lets no new one through.
func (c *proxy) tear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = true
	for _, e := range c.ends {
		_ = e.Close()
	}
}

func (c *proxy) mend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = false
}

func TestANodeIsCutOffAndComesBack(t *testing.T) {
	hub := join(t, cluster.Config{Name: "n1", Listen: "127.0.0.1:0"})
	second := join(t, cluster.Config{Name: "n2", Beside: hub})
	wire := newProxy(t, strings.TrimPrefix(hub.URL(), "nats://"))
	far := join(t, cluster.Config{Name: "n3", URL: "nats://" + wire.Addr().String()})
	for _, n := range []*cluster.Node{hub, second, far} {
		newLoop(t, n, "io-0")
		waitMembers(t, n, 3)
	}
	fromHub := watched(t, hub, "n3/io-0")
	call := make(chan error, 1)
	go func() {
		_, err := forever.Via(hub).Call(testCtx(t), refTo(t, hub, "n3/io-0"), struct{}{})
		call <- err
	}()
	receive(t, "the call to begin", begun)
	wire.tear()
	wantEnd(t, fromHub, cluster.ErrNodeDown)
	if err := receive(t, "the call under way", call); !errors.Is(err, cluster.ErrNodeDown) {
		t.Error(err)
	}
	waitMembers(t, second, 2)
	if _, err := where.Via(far).Call(testCtx(t), refTo(t, far, "n1/io-0"), struct{}{}); !errors.Is(err, cluster.ErrDisconnected) {
		t.Errorf("the node that is cut off says %v", err)
	}
	if got, err := where.Via(second).Call(testCtx(t), refTo(t, second, "n1/io-0"), struct{}{}); got != "n1/io-0" || err != nil {
		t.Errorf("the others: %q, %v", got, err)
	}
	wire.mend()
	for _, n := range []*cluster.Node{hub, second, far} {
		waitMembers(t, n, 3)
	}
	if got, err := where.Via(hub).Call(testCtx(t), refTo(t, hub, "n3/io-0"), struct{}{}); got != "n3/io-0" || err != nil {
		t.Errorf("after it came back: %q, %v", got, err)
	}
	// Its caller gave up while nobody could tell it: it is told now.
	if err := receive(t, "the cut-off task to end", ended); !errors.Is(err, loopnode.ErrCancelled) {
		t.Error(err)
	}
	far.Close()
}
