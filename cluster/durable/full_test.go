package durable

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/records"
	"github.com/loopmesh/loopmesh/cluster/names"
	"github.com/loopmesh/loopmesh/internal/testport"
	"github.com/loopmesh/loopmesh/loopnode"
)

// bulky is a call with an argument that takes room.
var bulky = cluster.Func("durable.bulky", func(context.Context, []byte) (struct{}, error) { return struct{}{}, nil })

// hopelessBulk always fails.
var hopelessBulk = cluster.Func("durable.hopeless-bulk", func(context.Context, []byte) (struct{}, error) {
	return struct{}{}, errors.New("it cannot be done")
})

// longCtx is for tests that store much, on a slow machine.
func longCtx(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// limited starts two nodes on one store and makes both streams, with limits that limit sets.
func limited(t *testing.T, limit func(*jetstream.StreamConfig)) (a, b *cluster.Node) {
	t.Helper()
	a = stored(t)
	b = beside(t, "b", a)
	bound(t, a, limit)
	return a, b
}

// bound makes the streams and changes their limits, as an operator would.
func bound(t *testing.T, n *cluster.Node, limit func(*jetstream.StreamConfig)) {
	t.Helper()
	ctx := longCtx(t)
	for _, r := range []*records.Records{records.Of(partsOf(n)), records.WorkOf(partsOf(n))} {
		js, name, err := r.Stream(ctx)
		if err != nil {
			t.Fatal(err)
		}
		s, err := js.Stream(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		cfg := s.CachedInfo().Config
		limit(&cfg)
		if _, err := js.UpdateStream(ctx, cfg); err != nil {
			t.Fatal(err)
		}
	}
}

// accountOf starts a NATS server of others whose account may store so much, and two nodes.
func accountOf(t *testing.T, most string) (a, b *cluster.Node) {
	t.Helper()
	o := &server.Options{}
	if err := o.ProcessConfigString(fmt.Sprintf(`listen: "127.0.0.1:-1"
		jetstream { store_dir: %q }
		accounts { SHOP { jetstream { max_file: %s }, users [ { user: u, password: p } ] } }`, t.TempDir(), most)); err != nil {
		t.Fatal(err)
	}
	o.NoSigs, o.NoLog = true, true
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("the server is not ready")
	}
	cfg := cluster.Config{URL: "nats://" + s.Addr().String(), User: "u", Password: "p"}
	cfg.Name = "a"
	a = start(t, cfg)
	cfg.Name = "b"
	return a, start(t, cfg)
}

// burst has both nodes store at once, less and less, until each goroutine is refused even
// the smallest piece, and says what was stored.
func burst(t *testing.T, a, b *cluster.Node, store func(n *cluster.Node, id string, size int) error) (stored []string) {
	t.Helper()
	var all sync.WaitGroup
	var mu sync.Mutex
	for _, n := range []*cluster.Node{a, b} {
		for g := range 12 {
			all.Go(func() {
				for i, size := 0, 2<<10; size > 0; i++ {
					id := fmt.Sprintf("%s-%d-%d", n.Name(), g, i)
					err := store(n, id, size)
					if errors.Is(err, ErrFull) {
						size /= 8
						continue
					}
					if err != nil {
						t.Errorf("a full store answers %v", err)
						return
					}
					mu.Lock()
					stored = append(stored, id)
					mu.Unlock()
				}
			})
		}
	}
	all.Wait()
	return stored
}

func claimed(t *testing.T, n *cluster.Node, name string) *names.Ownership {
	t.Helper()
	o, err := names.Claim(testCtx(t), n, name, loopnode.Ref{})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// acts waits until an owner acts, and fails when its name is lost: while a renewal of the lease
// is late an owner does not act, and has lost nothing yet.
func acts(t *testing.T, o *names.Ownership) {
	t.Helper()
	until(t, "the owner acts", func() bool {
		if err := o.Err(); err != nil {
			t.Fatalf("with a full store %v is over: %v", o, err)
		}
		return o.Held()
	})
}

// keeps watches owners for two whole leases: none of them ends, and the leases are renewed.
func keeps(t *testing.T, a *cluster.Node, owners ...*names.Ownership) {
	t.Helper()
	store, begin := records.Of(partsOf(a)), time.Now()
	lease := func() uint64 {
		rec, err := store.Get(testCtx(t), "lease.a")
		if err != nil {
			t.Fatal("the lease of a:", err)
		}
		return rec.Seq
	}
	first := lease()
	until(t, "two leases have passed", func() bool {
		for _, o := range owners {
			if o.Err() != nil {
				t.Fatalf("with a full store %v is over: %v", o, o.Err())
			}
		}
		return time.Since(begin) > 2*brief.TTL
	})
	for _, o := range owners {
		acts(t, o)
	}
	if lease() == first {
		t.Error("with a full store the lease of a is not renewed")
	}
}

var limits = []struct {
	name string
	of   func(t *testing.T) (a, b *cluster.Node)
}{
	{"bytes of the streams", func(t *testing.T) (a, b *cluster.Node) {
		return limited(t, func(c *jetstream.StreamConfig) { c.MaxBytes, c.Discard = 512<<10, jetstream.DiscardNew })
	}},
	{"messages of the streams", func(t *testing.T) (a, b *cluster.Node) {
		return limited(t, func(c *jetstream.StreamConfig) { c.MaxMsgs, c.Discard = 400, jetstream.DiscardNew })
	}},
	{"messages of streams that discard what is old", func(t *testing.T) (a, b *cluster.Node) {
		return limited(t, func(c *jetstream.StreamConfig) { c.MaxMsgs = 400 })
	}},
	{"bytes of the account", func(t *testing.T) (a, b *cluster.Node) { return accountOf(t, "1M") }},
}

// TestAFullStoreKeepsWhatItHas: calls for later are stored by two nodes at once until there
// is no room. Names keep their owners, new ones can be claimed, calls run and can be
// cancelled, and then there is room again.
func TestAFullStoreKeepsWhatItHas(t *testing.T) {
	for _, l := range limits {
		t.Run(l.name, func(t *testing.T) {
			a, b := l.of(t)
			ctx := longCtx(t)
			mine, theirs := claimed(t, a, "mine"), claimed(t, b, "theirs")
			if err := CallLater(ctx, a, "soon", bulky, nil, time.Hour, Group("g")); err != nil {
				t.Fatal(err)
			}
			far := func(n *cluster.Node, id string, size int) error {
				return CallLater(ctx, n, id, bulky, make([]byte, size), time.Hour, Group("g"))
			}
			ids := burst(t, a, b, far)
			if len(ids) < 50 {
				t.Fatalf("only %d calls had room", len(ids))
			}
			server := serving(t, a, "g") // whose name nobody has owned
			until(t, "a owns the group", func() bool { return server.Stats().Owner })
			keeps(t, a, mine, theirs)
			if err := FireNow(ctx, b, "g", "soon"); err != nil {
				t.Fatal(err)
			}
			until(t, "a call ran and was written down", func() bool { return state(t, a, "g", "soon") == Done })
			if err := far(b, "more", 1); !errors.Is(err, ErrFull) {
				t.Fatal("another call:", err)
			}
			if l.name == limits[1].name || l.name == limits[2].name {
				return // a cancelled call is listed for an hour: it is a message, but a small one
			}
			for _, id := range ids[:len(ids)/2] {
				if err := Cancel(ctx, a, "g", id); err != nil {
					t.Fatal(err)
				}
			}
			if err := far(b, "more", 1); err != nil {
				t.Fatal("after half of the calls were cancelled:", err)
			}
			if err := theirs.Release(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}

func state(t *testing.T, n *cluster.Node, group, id string) Status {
	t.Helper()
	list, err := Timers(testCtx(t), n, group)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		if c.ID == id {
			return c.State
		}
	}
	return ""
}

// TestAFullQueueBecomesEmpty: commands are sent by two nodes at once until there is no room.
// A node that has never owned the queue runs and ends them, and then there is room again.
func TestAFullQueueBecomesEmpty(t *testing.T) {
	for _, l := range limits {
		if l.name == limits[2].name {
			continue // a queue always discards what is new
		}
		t.Run(l.name, func(t *testing.T) {
			a, b := l.of(t)
			ctx := longCtx(t)
			mine := claimed(t, b, "mine")
			send := func(n *cluster.Node, id string, size int) error {
				return Send(ctx, n, "q", id, bulky, make([]byte, size))
			}
			ids := burst(t, a, b, send)
			if len(ids) < 50 {
				t.Fatalf("only %d commands had room", len(ids))
			}
			worker := working(t, a, "q", newLoop(t, a))
			until(t, "all commands ran", func() bool { return worker.Stats().Ran >= uint64(len(ids)) })
			gone(t, b)
			if err := send(b, "a-0-0", 2<<10); err != nil {
				t.Error("a command that has run, again:", err)
			}
			if l.name != limits[1].name { // each is a message for an hour after it ran
				if err := send(b, "more", 2<<10); err != nil {
					t.Error("with an empty queue:", err)
				}
			}
			acts(t, mine)
		})
	}
}

// gone waits until no command is in the queue.
func gone(t *testing.T, n *cluster.Node) {
	t.Helper()
	until(t, "all commands are gone", func() bool {
		left, err := Commands(testCtx(t), n, "q")
		if err != nil {
			t.Fatal(err)
		}
		return len(left) == 0
	})
}

// TestDeadLettersWaitForRoom: commands that fail for ever cannot fill the store with their
// letters so far that leases are not renewed.
func TestDeadLettersWaitForRoom(t *testing.T) {
	a, b := limited(t, func(c *jetstream.StreamConfig) { c.MaxBytes, c.Discard = 96<<10, jetstream.DiscardNew })
	ctx := longCtx(t)
	ids := burst(t, a, b, func(n *cluster.Node, id string, _ int) error {
		return Send(ctx, n, "q", id, hopelessBulk, nil, Redeliver(1))
	})
	worker := working(t, a, "q", newLoop(t, a))
	until(t, "each has failed", func() bool { return worker.Stats().Failed >= uint64(len(ids)) })
	js, name, err := records.WorkOf(partsOf(a)).Stream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	count, since := -1, time.Now()
	until(t, "each is a letter or waits, and no more become letters", func() bool {
		dead, err := DeadLetters(testCtx(t), a, "q")
		if err != nil {
			t.Fatal(err)
		}
		left, err := Commands(testCtx(t), a, "q")
		if err != nil {
			t.Fatal(err)
		}
		if len(dead) != count {
			count, since = len(dead), time.Now()
		}
		return len(dead)+len(left) == len(ids) && len(dead) > 0 && time.Since(since) > 2*time.Second
	})
	s, err := js.Stream(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d commands; %d letters, %d bytes", len(ids), count, s.CachedInfo().State.Bytes)
	if used := s.CachedInfo().State.Bytes; used > 92<<10 {
		t.Errorf("letters have filled the store to %d bytes of %d", used, 96<<10)
	}
}

// TestARefusalComesAtOnce: a refusal comes at once, and no store takes more than its mark.
func TestARefusalComesAtOnce(t *testing.T) {
	a, b := limited(t, func(c *jetstream.StreamConfig) { c.MaxMsgs, c.Discard = 100, jetstream.DiscardNew })
	ctx := longCtx(t)
	far := func(n *cluster.Node, id string, _ int) error { return CallLater(ctx, n, id, bulky, nil, time.Hour) }
	burst(t, a, b, far)
	slow := time.Duration(0)
	for i := range 20 {
		begin := time.Now()
		if err := far(b, fmt.Sprint("late", i), 1); !errors.Is(err, ErrFull) {
			t.Fatal(err)
		}
		slow = max(slow, time.Since(begin))
	}
	if slow > 4*time.Second {
		t.Errorf("a refusal took %v", slow)
	}
	js, name, err := records.Of(partsOf(a)).Stream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	if used := s.CachedInfo().State.Msgs; used < 70 || used > 94 {
		t.Errorf("%d messages of 100 are in use", used)
	}
}

// TestOthersFillTheAccount: what the reserve cannot keep free, because somebody else writes
// there, is a full store as well, and said at once.
func TestOthersFillTheAccount(t *testing.T) {
	a, _ := accountOf(t, "1M")
	ctx := longCtx(t)
	if err := CallLater(ctx, a, "soon", bulky, nil, time.Hour, Group("g")); err != nil {
		t.Fatal(err)
	}
	js, err := partsOf(a).JetStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "OTHERS", Subjects: []string{"others"}}); err != nil {
		t.Fatal(err)
	}
	for size := 16 << 10; size > 0; {
		if _, err := js.Publish(ctx, "others", make([]byte, size)); err != nil {
			size /= 4
		}
	}
	for what, err := range map[string]error{
		"storing": CallLater(ctx, a, "more", bulky, nil, time.Hour, Group("g")), "firing": FireNow(ctx, a, "g", "soon"),
	} {
		if !errors.Is(err, ErrFull) {
			t.Errorf("%s in a full account: %v", what, err)
		}
	}
}

// TestThreeVotersWithAFullStore: a store with three copies keeps names and becomes empty.
func TestThreeVotersWithAFullStore(t *testing.T) {
	nodes := threeVoters(t)
	until(t, "there is a leader", func() bool {
		_, _, err := records.WorkOf(partsOf(nodes[0])).Stream(testCtx(t))
		return err == nil
	})
	bound(t, nodes[0], func(c *jetstream.StreamConfig) { c.MaxBytes, c.Discard = 128<<10, jetstream.DiscardNew })
	ctx := longCtx(t)
	mine := claimed(t, nodes[1], "mine")
	ids := burst(t, nodes[0], nodes[2], func(n *cluster.Node, id string, size int) error {
		return Send(ctx, n, "q", id, bulky, make([]byte, size))
	})
	worker := working(t, nodes[1], "q", newLoop(t, nodes[1]))
	until(t, "all commands ran", func() bool { return worker.Stats().Ran >= uint64(len(ids)) })
	gone(t, nodes[0])
	if err := Send(ctx, nodes[0], "q", "more", bulky, make([]byte, 2<<10)); err != nil {
		t.Error("with an empty queue:", err)
	}
	acts(t, mine)
}

// threeVoters starts three servers of one cluster in this process.
func threeVoters(t testing.TB) (nodes []*cluster.Node) {
	t.Helper()
	routes := testport.Addresses(t, 3)
	for i := range routes {
		nodes = append(nodes, start(t, cluster.Config{
			Name: fmt.Sprintf("v%d", i+1), Voter: true, Routes: routes, RouteListen: routes[i], Listen: "127.0.0.1:0", StoreDir: t.TempDir(),
		}))
	}
	return nodes
}
