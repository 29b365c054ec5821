package groups

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/clustertest"
	"github.com/loopmesh/loopmesh/cluster/internal/pubsub"
	"github.com/loopmesh/loopmesh/cluster/internal/roster"
	"github.com/loopmesh/loopmesh/internal/leaktest"
	"github.com/loopmesh/loopmesh/loopnode"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: m}) }

func testCtx(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// together starts nodes with loops a and b.
func together(t *testing.T, count int) *clustertest.Cluster {
	t.Helper()
	return clustertest.New(t, count, func(_ string, cfg *cluster.Config) {
		cfg.Prepare = func(_ context.Context, n *cluster.Node) error {
			for _, name := range []string{"a", "b"} {
				if _, err := n.NewLoop(name); err != nil {
					return err
				}
			}
			return nil
		}
	})
}

func loopOf(t testing.TB, n *cluster.Node, name string) loopnode.Ref {
	t.Helper()
	ref, ok := n.Loop(name)
	if !ok {
		t.Fatalf("%s has no loop %s", n.Name(), name)
	}
	return ref
}

func join(t testing.TB, n *cluster.Node, group, loop string) *Membership {
	t.Helper()
	m, err := Join(n, group, loopOf(t, n, loop))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func list(n *cluster.Node, group string) string {
	var out []string
	for _, m := range Members(n, group) {
		out = append(out, m.Node+"/"+m.Loop)
	}
	return strings.Join(out, " ")
}

// know waits until a node knows these members of a group, and returns how long that took.
func know(t testing.TB, c *clustertest.Cluster, node, group, want string) time.Duration {
	t.Helper()
	n := c.Node(node)
	return looks(c, fmt.Sprintf("%s knows %q in %s", node, want, group), func() bool { return list(n, group) == want })
}

// looks waits until something is so, and returns how long that took. It is counted in looks, of
// which Eventually takes one in five milliseconds: on a machine that is busy they are as late
// as what they look for, and what is promised is not about that.
func looks(c *clustertest.Cluster, what string, ok func() bool) time.Duration {
	count := 0
	c.Eventually(what, func() bool { count++; return ok() })
	return time.Duration(count-1) * 5 * time.Millisecond
}

// within is the promise of the package.
func within(t testing.TB, what string, took, limit time.Duration) {
	t.Helper()
	t.Logf("%s: %v", what, took.Round(time.Millisecond/10))
	if took > limit {
		t.Errorf("%s took %v, promised is %v", what, took, limit)
	}
}

func TestAGroupIsKnownOnEveryNode(t *testing.T) {
	c := together(t, 3)
	first := join(t, c.Node("n1"), "io", "a")
	join(t, c.Node("n2"), "io", "b")
	join(t, c.Node("n2"), "other", "a")
	for _, name := range c.Names() {
		within(t, name+" knows who joined", know(t, c, name, "io", "n1/a n2/b"), 2*time.Second)
	}
	first.Leave()
	first.Leave()
	for _, name := range c.Names() {
		within(t, name+" knows who left", know(t, c, name, "io", "n2/b"), 2*time.Second)
	}
	loopOf(t, c.Node("n2"), "b").Stop()
	within(t, "the end of a loop", know(t, c, "n3", "io", ""), 2*time.Second)
	if list(c.Node("n3"), "other") != "n2/a" {
		t.Error("another group lost its member")
	}
	c.Node("n2").Close()
	within(t, "the end of a node", know(t, c, "n3", "other", ""), 2*time.Second)
}

// TestACallOnAClosedNode: it is the node's error, and comes at once.
func TestACallOnAClosedNode(t *testing.T) {
	c := together(t, 1)
	n := c.Node("n1")
	join(t, n, "io", "a")
	n.Close()
	begin := time.Now()
	for _, group := range []string{"io", "nobody"} {
		_, err := Call(testCtx(t), n, group, where, "")
		if !errors.Is(err, cluster.ErrClosed) || errors.Is(err, ErrNoMember) {
			t.Errorf("a call of group %s: %v", group, err)
		}
	}
	if took := time.Since(begin); took > patience {
		t.Errorf("a closed node waited %v for members", took)
	}
}

// TestALoopMayBeInAGroupTwice: it is out when it has left twice.
func TestALoopMayBeInAGroupTwice(t *testing.T) {
	c := together(t, 2)
	one, two := join(t, c.Node("n1"), "io", "a"), join(t, c.Node("n1"), "io", "a")
	know(t, c, "n2", "io", "n1/a")
	one.Leave()
	join(t, c.Node("n1"), "marker", "a")
	know(t, c, "n2", "marker", "n1/a")
	if list(c.Node("n2"), "io") != "n1/a" || list(c.Node("n1"), "io") != "n1/a" {
		t.Error("it left twice at once")
	}
	two.Leave()
	know(t, c, "n2", "io", "")
}

// TestTenThousandKeysAndAKilledNode: three nodes hold 10,000 keys; every node finds each
// within two seconds, one that comes later as well, and nothing of a killed node is found
// once it is known to be dead.
func TestTenThousandKeysAndAKilledNode(t *testing.T) {
	const keys = 10_000
	c := together(t, 3)
	names := c.Names()
	key := func(i int) string { return fmt.Sprintf("user-%d", i) }
	for i := range keys {
		if _, err := Hold(c.Node(names[i%3]), key(i)); err != nil {
			t.Fatal(err)
		}
	}
	right := func(at string, dead string) bool {
		n := c.Node(at)
		for i := range keys {
			want := names[i%3]
			node, ok := Where(n, key(i))
			if want == dead && ok || want != dead && (!ok || node != want) {
				return false
			}
		}
		return true
	}
	took := time.Duration(0)
	for _, name := range names {
		took += looks(c, name+" knows all keys", func() bool { return right(name, "") })
	}
	within(t, "10,000 keys are known everywhere", took, 2*time.Second)
	begun := time.Now()
	c.Crash("n3")
	down := time.Now()
	for _, name := range names[:2] {
		c.Eventually(name+" has given n3 up", func() bool { return !c.Knows(name, "n3") })
		gone := time.Now()
		late := looks(c, name+" finds no key of n3", func() bool { return right(name, "n3") })
		t.Logf("%s: n3 off the server after %v, given up %v later, its keys gone %v later", name, down.Sub(begun).Round(time.Millisecond), gone.Sub(down).Round(time.Millisecond), time.Since(gone).Round(time.Millisecond))
		if late > time.Second {
			t.Errorf("%s finds keys of a dead node for %v", name, late)
		}
	}
	c.Restart("n3")
	c.Together()
	took = looks(c, "n3 knows what the others hold", func() bool { return right("n3", "n3") })
	within(t, "a node that came later knows all keys", took, 2*time.Second)
}

func TestAKeyIsHeldUntilTheLastHasReleasedIt(t *testing.T) {
	c := together(t, 2)
	n1, n2 := c.Node("n1"), c.Node("n2")
	hold := func(n *cluster.Node) *Presence {
		p, err := Hold(n, "ann")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	at := func(n *cluster.Node) string { node, _ := Where(n, "ann"); return node }
	one, two := hold(n1), hold(n1)
	c.Eventually("n2 finds it", func() bool { return at(n2) == "n1" })
	one.Release()
	one.Release()
	if at(n1) != "n1" {
		t.Error("one of two has released it")
	}
	three := hold(n2)
	if at(n2) != "n2" {
		t.Error("its own comes first")
	}
	two.Release()
	c.Eventually("n1 finds the other holder", func() bool { return at(n1) == "n2" })
	three.Release()
	c.Eventually("nobody holds it", func() bool { return at(n1) == "" && at(n2) == "" })
}

// TestWhatGotLostIsRightWithinTwoSeconds: n2 is cut off while n1 joins, leaves and holds.
func TestWhatGotLostIsRightWithinTwoSeconds(t *testing.T) {
	c := together(t, 2)
	gone := join(t, c.Node("n1"), "io", "a")
	know(t, c, "n2", "io", "n1/a")
	c.Unplug("n2")
	c.Eventually("n2 is cut off", func() bool { return c.Node("n2").Stats().Disconnects > 0 })
	gone.Leave()
	join(t, c.Node("n1"), "io", "b")
	c.Heal("n2")
	c.Together()
	within(t, "after the cut", know(t, c, "n2", "io", "n1/b"), 2*time.Second)
}

// TestALostDeltaIsRepairedByADigest: a forged delta makes n2 believe that it has missed
// something, without any event of the membership.
func TestALostDeltaIsRepairedByADigest(t *testing.T) {
	c := together(t, 2)
	join(t, c.Node("n1"), "io", "a")
	know(t, c, "n2", "io", "n1/a")
	r := roomOf(c.Node("n2"))
	r.mu.Lock()
	for _, copied := range r.copies { // as if the last delta had not come
		*copied = *roster.NewCopy()
	}
	r.mu.Unlock()
	within(t, "after a lost message", know(t, c, "n2", "io", "n1/a"), 2*time.Second)
	r.arrived(pubsub.Message{Payload: []byte("garbage"), Codec: 3}) // logged, and nothing else
}

var (
	calls   sync.Map // loop → *atomic.Int64
	running = make(chan string, 16)
)

func counter(loop string) *atomic.Int64 {
	c, _ := calls.LoadOrStore(loop, &atomic.Int64{})
	return c.(*atomic.Int64)
}

func placeOf(ctx context.Context) string {
	n, _ := cluster.NodeOf(ctx)
	l, _ := loopnode.Running(ctx)
	return n.Name() + "/" + l.Name()
}

var (
	where = cluster.Func("groups.where", func(ctx context.Context, _ string) (string, error) {
		counter(placeOf(ctx)).Add(1)
		return placeOf(ctx), nil
	})
	linger = cluster.Func("groups.linger", func(ctx context.Context, _ string) (string, error) {
		running <- placeOf(ctx)
		return "", loopnode.Sleep(ctx, time.Hour)
	})
	// nested ends with the errors of a call that it makes itself.
	nested = cluster.Func("groups.nested", func(ctx context.Context, _ string) (string, error) {
		counter("nested").Add(1)
		n, _ := cluster.NodeOf(ctx)
		ref, err := n.Ref("n1/nothing")
		if err != nil {
			return "", err
		}
		return where.Call(ctx, ref, "")
	})
)

func call(t testing.TB, n *cluster.Node, opts ...Option) string {
	t.Helper()
	got, err := Call(testCtx(t), n, "io", where, "", opts...)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestACallGoesToTheMemberWithTheFewestCalls(t *testing.T) {
	c := together(t, 3)
	join(t, c.Node("n1"), "io", "a")
	join(t, c.Node("n2"), "io", "a")
	know(t, c, "n3", "io", "n1/a n2/a")
	ctx, cancel := context.WithCancel(testCtx(t))
	ended := make(chan error, 1)
	go func() { _, err := Call(ctx, c.Node("n3"), "io", linger, ""); ended <- err }()
	busy := <-running
	for range 10 {
		if got := call(t, c.Node("n3")); got == busy {
			t.Errorf("a call goes to %s, which has one under way", got)
		}
	}
	cancel()
	<-ended
	seen := map[string]bool{}
	for range 50 {
		seen[call(t, c.Node("n3"))] = true
	}
	if len(seen) != 2 {
		t.Error("of equals only one is called:", seen)
	}
}

func TestACallOfAKeyStaysWithItsMember(t *testing.T) {
	c := together(t, 3)
	for _, name := range c.Names() {
		join(t, c.Node(name), "io", "a")
	}
	leaving := join(t, c.Node("n3"), "io", "b")
	everybody := "n1/a n2/a n3/a n3/b"
	for _, name := range c.Names() {
		know(t, c, name, "io", everybody)
	}
	owner, share := map[string]string{}, map[string]int{}
	for i := range 200 {
		key := fmt.Sprint("key", i)
		owner[key] = call(t, c.Node("n1"), Key(key))
		share[owner[key]]++
		if other := call(t, c.Node("n2"), Key(key)); other != owner[key] {
			t.Fatalf("%s is at %s for n1 and at %s for n2", key, owner[key], other)
		}
	}
	for member, n := range share {
		if n < 20 || n > 90 {
			t.Errorf("%s has %d of 200 keys: %v", member, n, share)
		}
	}
	leaving.Leave()
	know(t, c, "n1", "io", "n1/a n2/a n3/a")
	for key, was := range owner {
		if now := call(t, c.Node("n1"), Key(key)); now != was && was != "n3/b" || now == "n3/b" {
			t.Errorf("%s moved from %s to %s", key, was, now)
		}
	}
}

// TestARefusedCallGoesToAnotherMember: the caller takes members for alive that have left
// the group's node, and are leaving.
func TestARefusedCallGoesToAnotherMember(t *testing.T) {
	c := together(t, 3)
	n3 := c.Node("n3")
	join(t, c.Node("n1"), "io", "a")
	join(t, c.Node("n2"), "io", "a")
	know(t, c, "n3", "io", "n1/a n2/a")
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(testCtx(t))
	go func() { // keeps n1 in its Stop
		ref, _ := n3.Ref("n1/b")
		_, err := linger.Via(n3).Call(ctx, ref, "")
		ended <- err
	}()
	<-running
	stopped := make(chan error, 1)
	go func() { stopped <- c.Node("n1").Stop(testCtx(t)) }()
	ref, err := n3.Ref("n1/a")
	if err != nil {
		t.Fatal(err)
	}
	c.Eventually("n1 begins no calls any more", func() bool {
		_, err := where.Via(n3).Call(testCtx(t), ref, "")
		return errors.Is(err, ErrLeaving) && errors.Is(err, cluster.ErrClosed)
	})
	if list(n3, "io") != "n1/a n2/a" {
		t.Error("n1 is still in the group:", list(n3, "io"))
	}
	for range 20 {
		if got := call(t, n3); got != "n2/a" {
			t.Error("a call ran on", got)
		}
	}
	cancel()
	<-ended
	<-stopped
	know(t, c, "n3", "io", "n2/a")
}

// TestACallThatMayHaveRunIsNotRepeated unless it is idempotent.
func TestACallThatMayHaveRunIsNotRepeated(t *testing.T) {
	c := together(t, 3)
	join(t, c.Node("n2"), "io", "a")
	know(t, c, "n1", "io", "n2/a")
	ended := make(chan error, 2)
	go func() { _, err := Call(testCtx(t), c.Node("n1"), "io", linger, ""); ended <- err }()
	<-running
	go func() { _, err := Call(testCtx(t), c.Node("n1"), "io", linger, "", Idempotent()); ended <- err }()
	<-running
	join(t, c.Node("n3"), "io", "a")
	know(t, c, "n1", "io", "n2/a n3/a")
	c.Crash("n2")
	if err := <-ended; !errors.Is(err, cluster.ErrNodeDown) {
		t.Error(err)
	}
	if at := <-running; at != "n3/a" {
		t.Error("the idempotent one runs on", at)
	}
	c.Crash("n3")
	if err := <-ended; !errors.Is(err, ErrNoMember) || !errors.Is(err, cluster.ErrNodeDown) {
		t.Error(err)
	}
}

// TestAnErrorOfTheFunctionIsNoRefusal: what a function returns ends the call, also when it
// looks like the refusal of another call.
func TestAnErrorOfTheFunctionIsNoRefusal(t *testing.T) {
	c := together(t, 2)
	join(t, c.Node("n2"), "io", "a")
	join(t, c.Node("n2"), "io", "b")
	know(t, c, "n1", "io", "n2/a n2/b")
	for _, from := range c.Names() {
		was := counter("nested").Load()
		if _, err := Call(testCtx(t), c.Node(from), "io", nested, ""); err == nil || errors.Is(err, ErrNoMember) {
			t.Error(err)
		}
		if got := counter("nested").Load() - was; got != 1 {
			t.Errorf("from %s it ran %d times", from, got)
		}
	}
}

func TestACallWithoutAMember(t *testing.T) {
	c := together(t, 2)
	begun := time.Now()
	_, err := Call(testCtx(t), c.Node("n1"), "nobody", where, "")
	if took := time.Since(begun); !errors.Is(err, ErrNoMember) || took < patience || took > 10*patience {
		t.Error(err, "after", took)
	}
	ctx, cancel := context.WithTimeout(testCtx(t), 50*time.Millisecond)
	defer cancel()
	if _, err := Call(ctx, c.Node("n1"), "nobody", where, ""); !errors.Is(err, ErrNoMember) || !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	// One that comes meanwhile gets the call.
	ended := make(chan string, 1)
	go func() {
		got, err := Call(testCtx(t), c.Node("n1"), "io", where, "")
		ended <- fmt.Sprint(got, err)
	}()
	join(t, c.Node("n2"), "io", "a")
	if got := <-ended; got != "n2/a<nil>" {
		t.Error(got)
	}
}

// TestACallFromATask suspends the task, also while it waits for a member.
func TestACallFromATask(t *testing.T) {
	c := together(t, 2)
	n1 := c.Node("n1")
	loop, _ := loopOf(t, n1, "a").Local()
	got := make(chan string, 1)
	err := loop.Ref().CallSoonThreadsafe(func() {
		loopnode.CreateTask(loop.Context(n1.Context(context.Background())), "caller", func(ctx context.Context) (struct{}, error) {
			v, err := Call(ctx, n1, "io", where, "")
			got <- fmt.Sprint(v, err)
			return struct{}{}, nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	join(t, n1, "io", "a") // its own loop: it runs while the caller waits
	if got := <-got; got != "n1/a<nil>" {
		t.Error(got)
	}
}

// TestEveryLoopIsAskedAndOneIsStuck: what is there at the deadline is given back.
func TestEveryLoopIsAskedAndOneIsStuck(t *testing.T) {
	c := together(t, 3)
	began, release := make(chan struct{}), make(chan struct{})
	if err := loopOf(t, c.Node("n3"), "a").CallSoonThreadsafe(func() { close(began); <-release }); err != nil {
		t.Fatal(err)
	}
	defer close(release)
	<-began
	ctx, cancel := context.WithTimeout(testCtx(t), 3*time.Second)
	defer cancel()
	all, err := CallEvery(ctx, c.Node("n1"), where, "")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range all {
		if a.Err == nil && a.Value != a.Node+"/"+a.Loop {
			t.Errorf("%+v", a)
		}
		got = append(got, fmt.Sprintf("%s/%s:%v", a.Node, a.Loop, errors.Is(a.Err, cluster.ErrExpired)))
	}
	if want := []string{"n1/a:false", "n1/b:false", "n2/a:false", "n2/b:false", "n3/a:true", "n3/b:false"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	c.Cut("n2")
	defer c.Heal("n2")
	short, cancel := context.WithTimeout(testCtx(t), 2*time.Second)
	defer cancel()
	all, err = CallEvery(short, c.Node("n1"), where, "")
	if err != nil {
		t.Fatal(err)
	}
	silent := slices.ContainsFunc(all, func(a Answer[string]) bool { return a.Node == "n2" && a.Loop == "" && a.Err != nil })
	mine := slices.ContainsFunc(all, func(a Answer[string]) bool { return a.Node == "n1" && a.Value == "n1/a" })
	if !silent || !mine {
		t.Errorf("%+v", all)
	}
}

func TestWhatCannotBe(t *testing.T) {
	c := together(t, 2)
	n1 := c.Node("n1")
	loop := loopOf(t, n1, "a")
	there, err := n1.Ref("n2/a")
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 256)
	var none context.Context
	for what, bad := range map[string]func() error{
		"no node":         func() error { _, err := Join(nil, "io", loop); return err },
		"no name":         func() error { _, err := Join(n1, "", loop); return err },
		"a long name":     func() error { _, err := Join(n1, long, loop); return err },
		"no loop":         func() error { _, err := Join(n1, "io", loopnode.Ref{}); return err },
		"another's loop":  func() error { _, err := Join(n1, "io", there); return err },
		"another node's":  func() error { _, err := Join(n1, "io", loopOf(t, c.Node("n2"), "a")); return err },
		"no key":          func() error { _, err := Hold(n1, ""); return err },
		"no node to hold": func() error { _, err := Hold(nil, "k"); return err },
		"no ctx":          func() error { _, err := Call(none, n1, "io", where, ""); return err },
		"no function": func() error {
			_, err := Call[string, string](context.Background(), n1, "io", nil, "")
			return err
		},
		"no ctx for all": func() error { _, err := CallEvery(none, n1, where, ""); return err },
	} {
		if err := bad(); !errors.Is(err, cluster.ErrConfig) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if node, ok := Where(nil, "x"); ok || node != "" || Members(nil, "x") != nil {
		t.Error("no node finds something")
	}
	n1.Close()
	if _, err := Hold(n1, "k"); !errors.Is(err, cluster.ErrClosed) {
		t.Error(err)
	}
	if _, err := Join(n1, "io", loop); !errors.Is(err, cluster.ErrConfig) && !errors.Is(err, cluster.ErrClosed) {
		t.Error(err)
	}
}
