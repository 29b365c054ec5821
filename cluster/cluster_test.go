package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/internal/leaktest"
	"github.com/loopmesh/loopmesh/loopnode"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: m}) }

// patience bounds every wait of these tests; none of them is expected to use it.
const patience = time.Minute

func testCtx(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func quiet() hclog.Logger { return hclog.NewNullLogger() }

func start(t testing.TB, cfg Config) *Node {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = quiet()
	}
	n, err := Start(testCtx(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n
}

// group starts nodes n1, n2, … on the embedded server of the first and waits
// until they know each other.
func group(t testing.TB, count int, change ...func(*Config)) []*Node {
	t.Helper()
	nodes := make([]*Node, count)
	for i := range nodes {
		cfg := Config{Name: fmt.Sprintf("n%d", i+1), Heartbeat: 100 * time.Millisecond, DeadAfter: time.Second}
		if i > 0 {
			cfg.Beside = nodes[0]
		}
		for _, c := range change {
			c(&cfg)
		}
		nodes[i] = start(t, cfg)
	}
	for _, n := range nodes {
		if err := n.WaitMembers(testCtx(t), count); err != nil {
			t.Fatal(err)
		}
	}
	return nodes
}

func newLoop(t testing.TB, n *Node, name string) loopnode.Ref {
	t.Helper()
	ref, err := n.NewLoop(name, func(c *loopnode.Config) { c.Logger = quiet() })
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func refTo(t testing.TB, n *Node, address string) loopnode.Ref {
	t.Helper()
	ref, err := n.Ref(address)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// mustNode is the node that ctx belongs to.
func mustNode(ctx context.Context) *Node {
	n, ok := NodeOf(ctx)
	if !ok {
		panic("ctx belongs to no node")
	}
	return n
}

// until waits for a condition that another goroutine brings about.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("still not so: %s", what)
		}
	}
}

// untilRan waits until count has reached total. Why not until: how long so many take
// depends on the machine; that none came for a while does not.
func untilRan(t testing.TB, count *atomic.Int64, total int64) {
	t.Helper()
	for have := count.Load(); have != total; have = count.Load() {
		until(t, fmt.Sprintf("more than %d of %d have run", have, total), func() bool { return count.Load() != have })
	}
}

func receive[T any](t testing.TB, what string, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(patience):
		t.Fatalf("still waiting for %s", what)
	}
	return v
}

func wantIs(t testing.TB, err error, targets ...error) {
	t.Helper()
	for _, target := range targets {
		if !errors.Is(err, target) {
			t.Fatalf("got %v, want %v", err, target)
		}
	}
}

type sum struct{ A, B int }

var (
	errPoor = RegisterError("test.poor", errors.New("not enough money"))

	add  = Func("test.add", func(_ context.Context, in sum) (int, error) { return in.A + in.B, nil })
	echo = Func("test.echo", func(_ context.Context, in []byte) ([]byte, error) { return in, nil })
	fail = Func("test.fail", func(_ context.Context, how string) (int, error) {
		switch how {
		case "registered":
			return 0, fmt.Errorf("withdraw 5: %w", errPoor)
		case "eof":
			return 0, fmt.Errorf("reading: %w", io.ErrUnexpectedEOF)
		case "panic":
			panic("the secret plan failed")
		case "panic value":
			panic(struct{ Password string }{"hunter2"})
		case "index":
			var none []int
			return none[len(how)], nil
		case "cancelled":
			return 0, &loopnode.CancelledError{Msg: "by itself"}
		}
		return 0, errors.New(how)
	})
	naps  = Func("test.nap", func(ctx context.Context, d time.Duration) (string, error) { return "slept", loopnode.Sleep(ctx, d) })
	where = Func("test.where", func(ctx context.Context, _ struct{}) (string, error) {
		l, err := loopnode.Running(ctx)
		if err != nil {
			return "", err
		}
		return mustNode(ctx).Name() + "/" + l.Name(), nil
	})
	// relay calls another loop from inside a task.
	relay = Func("test.relay", func(ctx context.Context, to string) (string, error) {
		ref, err := mustNode(ctx).Ref(to)
		if err != nil {
			return "", err
		}
		return where.Call(ctx, ref, struct{}{})
	})
	grow = Func("test.grow", func(_ context.Context, n int) ([]byte, error) { return make([]byte, n), nil })
)

func TestCallRunsOnTheLoopOfTheOtherNode(t *testing.T) {
	nodes := group(t, 3)
	newLoop(t, nodes[1], "io-0")
	newLoop(t, nodes[2], "io-0")
	ctx := nodes[0].Context(testCtx(t))
	for _, addr := range []string{"n2/io-0", "n3/io-0"} {
		ref := refTo(t, nodes[0], addr)
		if ref.IsLocal() {
			t.Errorf("%s is local", addr)
		}
		got, err := where.Call(ctx, ref, struct{}{})
		if err != nil || got != addr {
			t.Errorf("got %q, %v; want %q", got, err, addr)
		}
	}
	if got, err := add.Call(ctx, refTo(t, nodes[0], "n2/io-0"), sum{40, 2}); got != 42 || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := echo.Call(ctx, refTo(t, nodes[0], "n2/io-0"), []byte{0, 255, 'x'}); string(got) != "\x00\xffx" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if s := nodes[1].Stats(); s.Served != 3 || s.Malformed != 0 || s.Inbound != 0 {
		t.Errorf("%+v", s)
	}
}

func TestCallOfALocalLoopNeedsNoNetwork(t *testing.T) {
	n := group(t, 1)[0]
	ref := newLoop(t, n, "io-0")
	before := n.Stats()
	for _, r := range []loopnode.Ref{ref, refTo(t, n, "n1/io-0"), refTo(t, n, "/io-0")} {
		if got, err := add.Call(testCtx(t), r, sum{1, 2}); got != 3 || err != nil {
			t.Errorf("%v: got %v, %v", r, got, err)
		}
	}
	if after := n.Stats(); after.Calls != before.Calls || after.Served != before.Served {
		t.Errorf("the network was used: %+v", after)
	}
	for how, want := range map[string]error{"registered": errPoor, "panic": ErrPanic, "cancelled": ErrCancelled} {
		_, err := fail.Call(testCtx(t), ref, how)
		wantIs(t, err, want)
	}
	ctx, cancel := context.WithTimeout(testCtx(t), 20*time.Millisecond)
	defer cancel()
	_, err := naps.Call(ctx, ref, time.Hour)
	wantIs(t, err, ErrExpired, context.DeadlineExceeded)
}

func TestCallWithoutANodeReachesLocalLoopsOnly(t *testing.T) {
	if running.only() != nil {
		t.Fatal("a node of another test is alive")
	}
	_, err := add.Call(testCtx(t), loopnode.RemoteRef(actors.Address{Node: "n2", Path: "io-0"}), sum{})
	wantIs(t, err, ErrNoNode)
	wantIs(t, add.CallSoon(testCtx(t), loopnode.RemoteRef(actors.Address{Node: "n2", Path: "io-0"}), sum{}), ErrNoNode)
	var got int
	err = loopnode.Run(testCtx(t), func(ctx context.Context) error {
		loop, err := loopnode.Running(ctx)
		if err != nil {
			return err
		}
		got, err = add.Call(ctx, loop.Ref(), sum{3, 4})
		return err
	}, loopnode.WithoutSignals())
	if got != 7 || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestATaskAwaitsACallToAnotherNode(t *testing.T) {
	nodes := group(t, 3)
	newLoop(t, nodes[1], "io-0")
	newLoop(t, nodes[2], "io-0")
	got, err := relay.Via(nodes[0]).Call(testCtx(t), refTo(t, nodes[0], "n2/io-0"), "n3/io-0")
	if got != "n3/io-0" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	// To a loop of its own node, from a task of another loop of that node.
	newLoop(t, nodes[1], "io-1")
	if got, err = relay.Via(nodes[0]).Call(testCtx(t), refTo(t, nodes[0], "n2/io-0"), "n2/io-1"); got != "n2/io-1" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	// And to the very loop it runs on.
	if got, err = relay.Via(nodes[0]).Call(testCtx(t), refTo(t, nodes[0], "n2/io-0"), "n2/io-0"); got != "n2/io-0" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestACallbackMayNotWait(t *testing.T) {
	nodes := group(t, 2)
	newLoop(t, nodes[1], "io-0")
	ref := newLoop(t, nodes[0], "io-0")
	far := refTo(t, nodes[0], "n2/io-0")
	result := make(chan error, 1)
	if err := ref.CallSoonThreadsafe(func() {
		_, err := add.Call(context.Background(), far, sum{})
		result <- err
	}); err != nil {
		t.Fatal(err)
	}
	wantIs(t, receive(t, "the callback", result), loopnode.ErrWouldBlock)
}

func TestErrorsKeepTheirMeaningAcrossNodes(t *testing.T) {
	nodes := group(t, 2, func(c *Config) { c.MaxPayload = 64 << 10 })
	newLoop(t, nodes[1], "io-0")
	ctx := nodes[0].Context(testCtx(t))
	far := refTo(t, nodes[0], "n2/io-0")
	other := far.Address()
	other.Incarnation = nodes[1].Incarnation() - 1

	t.Run("the function's own text", func(t *testing.T) {
		_, err := fail.Call(ctx, far, "the disk is full")
		var remote *RemoteError
		if !errors.As(err, &remote) || remote.Message != "the disk is full" || !strings.Contains(err.Error(), "n2/io-0") {
			t.Errorf("got %v", err)
		}
		for _, kind := range fault.Kinds() {
			if errors.Is(err, kind) {
				t.Errorf("%v must not be %v", err, kind)
			}
		}
	})
	cases := []struct {
		name string
		call func() error
		want []error
	}{
		{"a registered error", func() error { _, err := fail.Call(ctx, far, "registered"); return err }, []error{errPoor}},
		{"io.ErrUnexpectedEOF", func() error { _, err := fail.Call(ctx, far, "eof"); return err }, []error{io.ErrUnexpectedEOF}},
		{"a panic", func() error { _, err := fail.Call(ctx, far, "panic"); return err }, []error{ErrPanic}},
		{"a panic of the runtime", func() error { _, err := fail.Call(ctx, far, "index"); return err }, []error{ErrPanic}},
		{"cancelled over there", func() error { _, err := fail.Call(ctx, far, "cancelled"); return err }, []error{ErrCancelled}},
		{"no such node", func() error { _, err := add.Call(ctx, refTo(t, nodes[0], "n9/io-0"), sum{}); return err }, []error{ErrUnknownNode}},
		{"no such loop", func() error { _, err := add.Call(ctx, refTo(t, nodes[0], "n2/io-9"), sum{}); return err }, []error{ErrUnknownLoop}},
		{"no such loop here", func() error { _, err := nodes[0].Ref("n1/io-9"); return err }, []error{ErrUnknownLoop}},
		{"an earlier life", func() error { _, err := add.Call(ctx, loopnode.RemoteRef(other), sum{}); return err }, []error{ErrDeadIncarnation}},
		{"arguments too large", func() error { _, err := echo.Call(ctx, far, make([]byte, 65<<10)); return err }, []error{ErrTooLarge}},
		{"result too large", func() error { _, err := grow.Call(ctx, far, 65<<10); return err }, []error{ErrTooLarge}},
		{"a name no node can have", func() error {
			_, err := add.Call(ctx, loopnode.RemoteRef(actors.Address{Node: "a.>", Path: "x"}), sum{})
			return err
		}, []error{ErrUnknownNode}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { wantIs(t, c.call(), c.want...) })
	}
	t.Run("a function only the caller has", func(t *testing.T) {
		lonely := &Function[sum, int]{name: "test.lonely"} // not registered
		_, err := lonely.Call(ctx, far, sum{})
		wantIs(t, err, ErrUnknownFunction)
	})
	t.Run("arguments of another type", func(t *testing.T) {
		twisted := &Function[string, int]{name: "test.add"}
		_, err := twisted.Call(ctx, far, "not a sum")
		wantIs(t, err, ErrBadPayload)
		raw := &Function[[]byte, int]{name: "test.add"}
		_, err = raw.Call(ctx, far, []byte("x"))
		wantIs(t, err, ErrBadPayload)
	})
	t.Run("a result of another type", func(t *testing.T) {
		twisted := &Function[sum, string]{name: "test.add"}
		_, err := twisted.Call(ctx, far, sum{})
		wantIs(t, err, ErrBadPayload)
	})
	t.Run("of a panic only the text leaves the process", func(t *testing.T) {
		_, err := fail.Call(ctx, far, "panic value")
		wantIs(t, err, ErrPanic)
		if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "goroutine") {
			t.Errorf("%v tells too much", err)
		}
	})
}

func TestAnAbsentNodeIsFoundOutAtOnce(t *testing.T) {
	n := group(t, 1)[0]
	ref := refTo(t, n, "gone/io-0")
	best := time.Hour
	for range 50 {
		begin := time.Now()
		_, err := add.Call(testCtx(t), ref, sum{})
		best = min(best, time.Since(begin))
		wantIs(t, err, ErrUnknownNode)
	}
	if best > 50*time.Millisecond {
		t.Errorf("the fastest of 50 took %v", best)
	}
	t.Logf("fastest answer %v", best)
	wantIs(t, add.CallSoon(testCtx(t), ref, sum{}), ErrUnknownNode)
}

// A name that was a member is told from one that never was.
func TestANodeThatLeftIsNoMisspeltName(t *testing.T) {
	nodes := group(t, 2)
	n, gone := nodes[0], nodes[1].Name()
	if err := nodes[1].Stop(testCtx(t)); err != nil {
		t.Fatal(err)
	}
	if err := n.WaitMembers(testCtx(t), 1); err != nil {
		t.Fatal(err)
	}
	asked := func(node string) map[string]error {
		ref := refTo(t, n, node+"/io-0")
		_, err := add.Call(testCtx(t), ref, sum{})
		return map[string]error{
			"Call": err, "CallSoon": add.CallSoon(testCtx(t), ref, sum{}),
			"Watch": receive(t, "the notice", watchInto(t, n, node+"/io-0")).Reason,
		}
	}
	for how, err := range asked(gone) {
		if wantIs(t, err, ErrUnknownNode); !strings.Contains(err.Error(), "any more: it left") {
			t.Errorf("%s: %v", how, err)
		}
	}
	for how, err := range asked("misspelt") {
		if wantIs(t, err, ErrUnknownNode); strings.Contains(err.Error(), "any more") {
			t.Errorf("%s: %v", how, err)
		}
	}
}

func TestFuncRefusesADuplicateName(t *testing.T) {
	defer func() {
		if v := fmt.Sprint(recover()); !strings.Contains(v, "test.add") || !strings.Contains(v, "already") {
			t.Errorf("got %q", v)
		}
	}()
	Func("test.add", func(context.Context, int) (int, error) { return 0, nil })
}

func TestRegisterErrorRefusesADuplicateName(t *testing.T) {
	for _, name := range []string{"test.poor", "io.EOF", ""} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q was accepted", name)
				}
			}()
			RegisterError(name, errors.New("x"))
		}()
	}
}

var (
	castLog  = make(chan int, 10_000)
	castSlow = Func("test.cast", func(_ context.Context, i int) (struct{}, error) { castLog <- i; return struct{}{}, nil })
	castFail = Func("test.castfail", func(_ context.Context, s string) (struct{}, error) { return struct{}{}, errors.New(s) })
)

func TestCallSoonKeepsItsOrder(t *testing.T) {
	nodes := group(t, 2)
	newLoop(t, nodes[1], "io-0")
	const count = 2000
	f, far := castSlow.Via(nodes[0]), refTo(t, nodes[0], "n2/io-0")
	for i := range count {
		if err := f.CallSoon(testCtx(t), far, i); err != nil {
			t.Fatal(err)
		}
	}
	for i := range count {
		if got := receive(t, "a call", castLog); got != i {
			t.Fatalf("call %d came as number %d", got, i)
		}
	}
	until(t, "nothing is unfinished", func() bool { return nodes[1].Stats().Inbound == 0 })
}

func TestCallLaterAndCallAtWaitOnTheOtherNode(t *testing.T) {
	nodes := group(t, 2)
	near, far := newLoop(t, nodes[0], "io-0"), newLoop(t, nodes[1], "io-0")
	for _, ref := range []loopnode.Ref{near, loopnode.RemoteRef(far.Address())} {
		f := castSlow.Via(nodes[0])
		begin := time.Now()
		steps := []error{
			f.CallAt(testCtx(t), ref, begin.Add(60*time.Millisecond), 3), f.CallLater(testCtx(t), ref, 30*time.Millisecond, 2),
			f.CallAt(testCtx(t), ref, begin.Add(-time.Hour), 1),
		}
		if err := errors.Join(steps...); err != nil {
			t.Fatal(err)
		}
		for want := 1; want <= 3; want++ {
			if got := receive(t, "a call", castLog); got != want {
				t.Fatalf("got call %d, want %d", got, want)
			}
		}
		if d := time.Since(begin); d < 60*time.Millisecond {
			t.Errorf("all done after %v", d)
		}
	}
}

func TestAFailedCallSoonGoesToTheExceptionHandler(t *testing.T) {
	nodes := group(t, 2)
	reports := make(chan loopnode.ExceptionContext, 10)
	_, err := nodes[1].NewLoop("io-0", func(c *loopnode.Config) {
		c.ExceptionHandler = func(_ *loopnode.Loop, ec loopnode.ExceptionContext) { reports <- ec }
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := castFail.Via(nodes[0]).CallSoon(testCtx(t), refTo(t, nodes[0], "n2/io-0"), "no paper"); err != nil {
		t.Fatal(err)
	}
	ec := receive(t, "the report", reports)
	if ec.Exception == nil || ec.Exception.Error() != "no paper" || !strings.Contains(ec.Message, "test.castfail") {
		t.Errorf("got %+v", ec)
	}
	until(t, "it is counted", func() bool { return nodes[1].Stats().CastsFailed == 1 })
}

// TestTheResultOfACallSoonIsDropped: it is not encoded, so that it need not be
// encodable, also on a loop of another node.
func TestTheResultOfACallSoonIsDropped(t *testing.T) {
	nodes := group(t, 2)
	reports := make(chan loopnode.ExceptionContext, 10)
	if _, err := nodes[1].NewLoop("io-0", func(c *loopnode.Config) {
		c.ExceptionHandler = func(_ *loopnode.Loop, ec loopnode.ExceptionContext) { reports <- ec }
	}); err != nil {
		t.Fatal(err)
	}
	far := refTo(t, nodes[0], "n2/io-0")
	if err := castDrops.Via(nodes[0]).CallSoon(testCtx(t), far, 1); err != nil {
		t.Fatal(err)
	}
	if err := castFail.Via(nodes[0]).CallSoon(testCtx(t), far, "the next one"); err != nil {
		t.Fatal(err)
	}
	if ec := receive(t, "the report", reports); ec.Exception.Error() != "the next one" {
		t.Errorf("got %+v", ec)
	}
}

var castDrops = Func("test.castdrops", func(context.Context, int) (chan int, error) { return make(chan int), nil })

// TestTasksThatBeginAtOnceCountAsEnded: on such a loop a call may end before it is known
// to have begun.
func TestTasksThatBeginAtOnceCountAsEnded(t *testing.T) {
	nodes := group(t, 2, func(c *Config) { c.MaxInbound = 3 })
	ref := newLoop(t, nodes[1], "io-0")
	l, _ := ref.Local()
	l.SetTaskFactory(loopnode.EagerTasks)
	far := refTo(t, nodes[0], "n2/io-0")
	for i := range 10 {
		if got, err := add.Via(nodes[0]).Call(testCtx(t), far, sum{i, 1}); got != i+1 || err != nil {
			t.Fatalf("call %d: %d, %v", i, got, err)
		}
		if err := castSlow.Via(nodes[0]).CallSoon(testCtx(t), far, i); err != nil {
			t.Fatal(err)
		}
		if got := receive(t, "a call without an answer", castLog); got != i {
			t.Fatalf("got %d, want %d", got, i)
		}
	}
	if s := nodes[1].Stats(); s.CastsFailed != 0 || s.Refused != 0 {
		t.Errorf("%+v", s)
	}
}

// TestALoopThatEndsTakesItsCastsAlong: what was posted to a loop that closes is
// dropped, and must not count as unfinished for ever.
func TestALoopThatEndsTakesItsCastsAlong(t *testing.T) {
	nodes := group(t, 2)
	ref := newLoop(t, nodes[1], "io-0")
	if err := castSlow.Via(nodes[0]).CallLater(testCtx(t), refTo(t, nodes[0], "n2/io-0"), time.Hour, 1); err != nil {
		t.Fatal(err)
	}
	until(t, "it is there", func() bool { return nodes[1].Stats().Timers == 1 })
	if err := ref.Stop(); err != nil {
		t.Fatal(err)
	}
	until(t, "it is forgotten", func() bool { return nodes[1].Stats().Timers == 0 })
}

// stuck is what a called function reports about its own end.
type stuck struct {
	began chan struct{}
	ended chan error
	ran   atomic.Int64
}

var hold = &stuck{began: make(chan struct{}, 100), ended: make(chan error, 100)}

var holdFunc = Func("test.hold", func(ctx context.Context, _ struct{}) (struct{}, error) {
	hold.ran.Add(1)
	hold.began <- struct{}{}
	err := loopnode.Sleep(ctx, time.Hour)
	if ctx.Err() == nil {
		err = fmt.Errorf("the ctx has not ended: %w", err)
	}
	hold.ended <- err
	return struct{}{}, err
})

func TestCancellationReachesTheCallee(t *testing.T) {
	nodes := group(t, 2)
	newLoop(t, nodes[1], "io-0")
	far := refTo(t, nodes[0], "n2/io-0")
	t.Run("of a goroutine", func(t *testing.T) {
		ctx, cancel := context.WithCancel(testCtx(t))
		result := make(chan error, 1)
		go func() { _, err := holdFunc.Via(nodes[0]).Call(ctx, far, struct{}{}); result <- err }()
		receive(t, "the start", hold.began)
		cancel()
		wantIs(t, receive(t, "the caller's end", result), context.Canceled)
		wantIs(t, receive(t, "the callee's end", hold.ended), loopnode.ErrCancelled)
	})
	t.Run("of a task", func(t *testing.T) {
		near := newLoop(t, nodes[0], "io-0")
		loop, _ := near.Local()
		result := make(chan error, 1)
		var task *loopnode.Task[struct{}]
		if err := near.CallSoonThreadsafe(func() {
			task = loopnode.CreateTask(loop.Context(nodes[0].Context(context.Background())), "caller", func(ctx context.Context) (struct{}, error) {
				return holdFunc.Call(ctx, far, struct{}{})
			})
			task.AddDoneCallback(func(f *loopnode.Future[struct{}]) { _, err := f.Result(); result <- err })
		}); err != nil {
			t.Fatal(err)
		}
		receive(t, "the start", hold.began)
		if err := near.CallSoonThreadsafe(func() { task.Cancel("enough") }); err != nil {
			t.Fatal(err)
		}
		wantIs(t, receive(t, "the caller's end", result), loopnode.ErrCancelled)
		wantIs(t, receive(t, "the callee's end", hold.ended), loopnode.ErrCancelled)
	})
	t.Run("by a deadline", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(testCtx(t), 2*time.Second) // it has to begin before
		defer cancel()
		_, err := holdFunc.Via(nodes[0]).Call(ctx, far, struct{}{})
		wantIs(t, err, ErrExpired, context.DeadlineExceeded)
		receive(t, "the start", hold.began)
		wantIs(t, receive(t, "the callee's end", hold.ended), loopnode.ErrCancelled)
	})
	t.Run("of a local call", func(t *testing.T) {
		near := newLoop(t, nodes[0], "io-1")
		ctx, cancel := context.WithCancel(testCtx(t))
		result := make(chan error, 1)
		go func() { _, err := holdFunc.Call(ctx, near, struct{}{}); result <- err }()
		receive(t, "the start", hold.began)
		cancel()
		wantIs(t, receive(t, "the caller's end", result), context.Canceled)
		wantIs(t, receive(t, "the callee's end", hold.ended), loopnode.ErrCancelled)
	})
	until(t, "nothing is left over", func() bool {
		return nodes[1].Stats().Inbound == 0 && nodes[0].Stats().InFlight == 0
	})
}

func TestAnExpiredCallDoesNotRun(t *testing.T) {
	nodes := group(t, 2)
	ref := newLoop(t, nodes[1], "io-0")
	before := hold.ran.Load()
	release := make(chan struct{})
	if err := ref.CallSoonThreadsafe(func() { <-release }); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(testCtx(t), 500*time.Millisecond)
	defer cancel()
	_, err := holdFunc.Via(nodes[0]).Call(ctx, refTo(t, nodes[0], "n2/io-0"), struct{}{})
	wantIs(t, err, ErrExpired)
	if !strings.Contains(err.Error(), "node n2 was heard of") {
		t.Errorf("%v does not say whether the node lives", err)
	}
	// The other side counts from the arrival, a moment later.
	late := time.Now().Add(time.Second)
	until(t, "the deadline has passed there too", func() bool { return time.Now().After(late) })
	close(release)
	until(t, "the call is refused", func() bool { return nodes[1].Stats().Expired == 1 })
	if hold.ran.Load() != before {
		t.Error("it ran after its deadline")
	}
	_, err = add.Via(nodes[0]).Call(ctx, refTo(t, nodes[0], "n2/io-0"), sum{})
	wantIs(t, err, ErrExpired)
}

func TestACallWithoutADeadlineEndsAnyway(t *testing.T) {
	nodes := group(t, 2, func(c *Config) { c.CallTimeout = 100 * time.Millisecond })
	newLoop(t, nodes[1], "io-0")
	_, err := naps.Via(nodes[0]).Call(context.Background(), refTo(t, nodes[0], "n2/io-0"), time.Hour)
	wantIs(t, err, ErrExpired)
}

func TestABusyNodeRefuses(t *testing.T) {
	nodes := group(t, 2, func(c *Config) { c.MaxInbound = 1 })
	newLoop(t, nodes[1], "io-0")
	far := refTo(t, nodes[0], "n2/io-0")
	ctx, cancel := context.WithCancel(testCtx(t))
	result := make(chan error, 1)
	go func() { _, err := holdFunc.Via(nodes[0]).Call(ctx, far, struct{}{}); result <- err }()
	receive(t, "the start", hold.began)
	_, err := add.Via(nodes[0]).Call(testCtx(t), far, sum{})
	wantIs(t, err, ErrBusy)
	cancel()
	receive(t, "the caller's end", result)
	receive(t, "the callee's end", hold.ended)
}

// TestAnErrorOfALocalCallNamesTheNode: whoever reads it need not know from where it was
// called.
func TestAnErrorOfALocalCallNamesTheNode(t *testing.T) {
	n := group(t, 1)[0]
	ref := newLoop(t, n, "io-0")
	_, panicked := fail.Call(testCtx(t), ref, "panic")
	wantIs(t, panicked, ErrPanic)
	_, unknown := n.CallJSON(testCtx(t), ref, "test.nobody", nil)
	wantIs(t, unknown, ErrUnknownFunction)
	_, byAddress := n.CallJSON(testCtx(t), refTo(t, n, "n1/io-0"), "test.nobody", nil)
	for _, err := range []error{panicked, unknown, byAddress} {
		if !strings.Contains(err.Error(), " on n1/io-0: ") {
			t.Errorf("%v", err)
		}
	}
}
