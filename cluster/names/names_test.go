package names

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
	"github.com/loopmesh/loopmesh/cluster/internal/lease"
	"github.com/loopmesh/loopmesh/cluster/internal/records"
	"github.com/loopmesh/loopmesh/internal/leaktest"
	"github.com/loopmesh/loopmesh/internal/testport"
	"github.com/loopmesh/loopmesh/loopnode"
)

// A test binary runs itself with a role, see live.
const (
	roleVariable    = "LOOPMESH_TEST_ROLE"
	addressVariable = "LOOPMESH_TEST_ADDRESS"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		live(role)
		return
	}
	goleak.VerifyTestMain(leaktest.Late{M: m})
}

// promptly is how long something may take, on a machine that is busy, that neither waits for a
// lease nor for an owner to hear of a record.
const promptly = hearing * 2 / 3

// short are the times of a lease in tests. The store knows whole seconds.
var short = lease.Config{TTL: 2 * time.Second, Renew: 300 * time.Millisecond, Retry: 100 * time.Millisecond, Margin: 300 * time.Millisecond}

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
	n.Inside(inside.Key{}).Lease = short
	t.Cleanup(n.Close)
	return n
}

// usual gives nodes that have owned nothing yet the leases of programs, which are so long that
// nothing in a test waits for the end of one.
func usual(nodes ...*cluster.Node) {
	for _, n := range nodes {
		n.Inside(inside.Key{}).Lease = lease.Default()
	}
}

// pair starts a, which has the store, and b beside it.
func pair(t testing.TB) (a, b *cluster.Node) {
	t.Helper()
	a = start(t, cluster.Config{Name: "a", StoreDir: t.TempDir(), Listen: "127.0.0.1:0"})
	b = start(t, cluster.Config{Name: "b", Join: []string{strings.TrimPrefix(a.URL(), "nats://")}})
	if err := a.WaitMembers(testCtx(t), 2); err != nil {
		t.Fatal(err)
	}
	return a, b
}

func mustClaim(t testing.TB, n *cluster.Node, name string) *Ownership {
	t.Helper()
	o, err := Claim(testCtx(t), n, name, loopnode.Ref{})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func wantIs(t testing.TB, err, want error, parts ...string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got %v, want %v", err, want)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%q does not say %q", err, p)
		}
	}
}

func TestANameHasOneOwner(t *testing.T) {
	a, b := pair(t)
	usual(a, b)
	mine := mustClaim(t, a, "orders")
	if !mine.Held() || mine.Token() == 0 || mine.Err() != nil {
		t.Errorf("%v: held %v, %v", mine, mine.Held(), mine.Err())
	}
	_, err := Claim(testCtx(t), b, "orders", loopnode.Ref{})
	wantIs(t, err, ErrTaken, "node a")
	_, err = Claim(testCtx(t), a, "orders", loopnode.Ref{})
	wantIs(t, err, ErrTaken, "node a")
	who, err := Resolve(testCtx(t), b, "orders")
	if err != nil || who.Node != "a" || who.Token != mine.Token() {
		t.Errorf("%+v, %v", who, err)
	}
	begin := time.Now()
	if err := mine.Release(testCtx(t)); err != nil {
		t.Fatal(err)
	}
	wantIs(t, mine.Err(), ErrReleased)
	if mine.Held() {
		t.Error("held after Release")
	}
	if _, err := Resolve(testCtx(t), b, "orders"); !errors.Is(err, ErrNotClaimed) {
		t.Error(err)
	}
	theirs := mustClaim(t, b, "orders")
	if took := time.Since(begin); took > promptly {
		t.Errorf("release and claim took %v", took)
	}
	if theirs.Token() <= mine.Token() {
		t.Errorf("tokens %d, then %d", mine.Token(), theirs.Token())
	}
	list, err := List(testCtx(t), a)
	if err != nil || len(list) != 1 || list[0].Node != "b" {
		t.Errorf("%+v, %v", list, err)
	}
	if err := mine.Release(testCtx(t)); err != nil {
		t.Error("releasing twice:", err)
	}
	if !theirs.Held() {
		t.Error("a late Release of the former owner took the name away")
	}
}

func TestTwoNodesRaceForNames(t *testing.T) {
	a, b := pair(t)
	const count = 300
	var all sync.WaitGroup
	var mu sync.Mutex
	won := map[string][]*Ownership{}
	for _, n := range []*cluster.Node{a, b} {
		for g := range 6 {
			all.Go(func() {
				for i := g; i < count; i += 6 {
					name := fmt.Sprintf("shard-%d", i)
					o, err := Claim(testCtx(t), n, name, loopnode.Ref{})
					if err != nil && !errors.Is(err, ErrTaken) {
						t.Errorf("%s: %v", name, err)
					}
					if err == nil {
						mu.Lock()
						won[name] = append(won[name], o)
						mu.Unlock()
					}
				}
			})
		}
	}
	all.Wait()
	tokens := map[uint64]bool{}
	for name, list := range won {
		if len(list) != 1 || tokens[list[0].Token()] {
			t.Errorf("%s: %v", name, list)
		}
		tokens[list[0].Token()] = true
	}
	if len(won) != count {
		t.Errorf("%d names have an owner", len(won))
	}
	list, err := List(testCtx(t), b)
	if err != nil || len(list) != count {
		t.Errorf("%d are listed, %v", len(list), err)
	}
	for _, o := range list {
		if won[o.Name][0].Owner() != o {
			t.Errorf("%+v is listed, %+v won", o, won[o.Name][0].Owner())
		}
	}
}

func TestANodeThatLeavesReleasesItsNames(t *testing.T) {
	a, b := pair(t)
	usual(a, b)
	mine := mustClaim(t, b, "orders")
	got := make(chan *Ownership, 1)
	go func() {
		o, _ := Acquire(testCtx(t), a, "orders", loopnode.Ref{})
		got <- o
	}()
	begin := time.Now()
	b.Close()
	o := <-got
	if took := time.Since(begin); o == nil || took > lease.Default().TTL/2 {
		t.Errorf("%v after %v", o, took)
	}
	wantIs(t, mine.Err(), ErrReleased)
}

func TestRecordsThatNobodyCanRead(t *testing.T) {
	a, b := pair(t)
	store := records.Of(b.Inside(inside.Key{}))
	for i, garbage := range []string{"", "{", `{"v":9}`, `{"v":1}`, "\x00\xff", `{"v":1,"node":"x","life":1,"term":1,"name":"other","nonce":"n"}`} {
		name := fmt.Sprintf("g%d", i)
		if _, err := store.Put(testCtx(t), ownSubject(name), []byte(garbage), 0, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := Resolve(testCtx(t), a, name); !errors.Is(err, ErrNotClaimed) {
			t.Errorf("%q: %v", garbage, err)
		}
		if o := mustClaim(t, a, name); !o.Held() {
			t.Errorf("%q", garbage)
		}
	}
	o := mustClaim(t, a, "orders")
	if _, err := store.Put(testCtx(t), ownSubject("orders"), []byte("garbage"), o.Token(), 0); err != nil {
		t.Fatal(err)
	}
	<-o.Done()
	wantIs(t, o.Err(), ErrLost)
}

func TestWhatIsRefused(t *testing.T) {
	a, _ := pair(t)
	for _, name := range []string{"", strings.Repeat("x", 129), "a\nb", "a\xff"} {
		_, err := Claim(testCtx(t), a, name, loopnode.Ref{})
		wantIs(t, err, ErrBadName)
	}
	var none context.Context
	_, err := Claim(none, a, "x", loopnode.Ref{})
	wantIs(t, err, cluster.ErrConfig, "ctx")
	_, err = Claim(testCtx(t), nil, "x", loopnode.Ref{})
	wantIs(t, err, cluster.ErrConfig, "node")
	lone := start(t, cluster.Config{Name: "lone"})
	_, err = Claim(testCtx(t), lone, "x", loopnode.Ref{})
	wantIs(t, err, cluster.ErrNoJetStream, "StoreDir")
	for _, odd := range []string{"a.b.*", "invoice 7>", "ü", "="} {
		if o := mustClaim(t, a, odd); !o.Held() {
			t.Error(odd)
		}
	}
}

func TestAClosedNodeSaysSo(t *testing.T) {
	a := start(t, cluster.Config{Name: "a", StoreDir: t.TempDir()})
	mustClaim(t, a, "used")
	a.Close()
	_, err := Claim(context.Background(), a, "x", loopnode.Ref{})
	wantIs(t, err, cluster.ErrClosed)
	_, err = Resolve(context.Background(), a, "used")
	wantIs(t, err, cluster.ErrClosed)
}

// TestTheServerIsRestarted: an owner whose server is away for longer than others would
// wait for the owner keeps its name when the server is back, and does not act meanwhile.
func TestTheServerIsRestarted(t *testing.T) {
	cfg := cluster.Config{Name: "a", StoreDir: t.TempDir(), Listen: testport.Address(t)}
	a := start(t, cfg)
	b := start(t, cluster.Config{Name: "b", Join: []string{cfg.Listen}})
	usual(b)
	o := mustClaim(t, b, "orders")
	a.Close()
	until(t, "b does not act as the owner", func() bool { return !o.Held() })
	_, err := Claim(testCtx(t), b, "more", loopnode.Ref{})
	wantIs(t, err, cluster.ErrNoQuorum)
	a = start(t, cfg)
	until(t, "b acts again", o.Held)
	_, err = Claim(testCtx(t), a, "orders", loopnode.Ref{})
	wantIs(t, err, ErrTaken, "node b")
	if who, err := Resolve(testCtx(t), a, "orders"); err != nil || who.Token != o.Token() {
		t.Errorf("%+v, %v", who, err)
	}
}

func TestWatch(t *testing.T) {
	a, b := pair(t)
	ctx, cancel := context.WithCancel(testCtx(t))
	defer cancel()
	seen, err := Watch(ctx, a, "orders")
	if err != nil {
		t.Fatal(err)
	}
	var nodes []string
	var o *Ownership
	for owner := range seen {
		nodes = append(nodes, owner.Node)
		switch len(nodes) {
		case 1:
			o = mustClaim(t, b, "orders")
		case 2:
			if err := o.Release(testCtx(t)); err != nil {
				t.Fatal(err)
			}
		case 3:
			cancel()
		}
	}
	if got := strings.Join(nodes, ","); got != ",b," {
		t.Errorf("owners %q", got)
	}
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick, limit := time.NewTicker(3*time.Millisecond), time.NewTimer(time.Minute)
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
