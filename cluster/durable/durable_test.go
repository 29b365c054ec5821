package durable

import (
	"context"
	"errors"
	"fmt"
	"math"
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
	"github.com/loopmesh/loopmesh/loopnode"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		live(role)
		return
	}
	goleak.VerifyTestMain(leaktest.Late{M: m})
}

func testCtx(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// brief are the times of a lease in tests.
var brief = lease.Config{TTL: 2 * time.Second, Renew: 300 * time.Millisecond, Retry: 100 * time.Millisecond, Margin: 300 * time.Millisecond}

func start(t testing.TB, cfg cluster.Config) *cluster.Node {
	t.Helper()
	cfg.Logger = hclog.NewNullLogger()
	cfg.Heartbeat, cfg.DeadAfter = 50*time.Millisecond, 500*time.Millisecond
	n, err := cluster.Start(testCtx(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	n.Inside(inside.Key{}).Lease = brief
	t.Cleanup(n.Close)
	return n
}

// stored starts the node that keeps the store, and forgets what earlier tests did.
func stored(t testing.TB) *cluster.Node {
	book.mu.Lock()
	clear(book.runs)
	book.mu.Unlock()
	order.Lock()
	clear(order.by)
	order.Unlock()
	return start(t, cluster.Config{Name: "a", StoreDir: t.TempDir(), Listen: "127.0.0.1:0"})
}

func beside(t testing.TB, name string, a *cluster.Node) *cluster.Node {
	return start(t, cluster.Config{Name: name, Join: []string{strings.TrimPrefix(a.URL(), "nats://")}})
}

func newLoop(t testing.TB, n *cluster.Node) loopnode.Ref {
	t.Helper()
	ref, err := n.NewLoop("io-0", func(c *loopnode.Config) { c.Logger = hclog.NewNullLogger() })
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func serving(t testing.TB, n *cluster.Node, group string) *Server {
	t.Helper()
	s, err := Serve(n, group, newLoop(t, n))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// journal is what the functions of the tests have done, by test.
type journal struct {
	mu   sync.Mutex
	runs map[string][]Run
	news chan struct{}
}

var book = journal{runs: map[string][]Run{}, news: make(chan struct{}, 1)}

func (j *journal) add(ctx context.Context, key string) int {
	run, _ := RunOf(ctx)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.runs[key] = append(j.runs[key], run)
	select {
	case j.news <- struct{}{}:
	default:
	}
	return len(j.runs[key])
}

func (j *journal) of(key string) []Run {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]Run(nil), j.runs[key]...)
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

var note = cluster.Func("durable.note", func(ctx context.Context, key string) (struct{}, error) {
	book.add(ctx, key)
	return struct{}{}, nil
})

var failing = cluster.Func("durable.failing", func(ctx context.Context, key string) (struct{}, error) {
	if n := book.add(ctx, key); n < 2 {
		return struct{}{}, fmt.Errorf("attempt %d fails", n)
	}
	return struct{}{}, nil
})

var hopeless = cluster.Func("durable.hopeless", func(ctx context.Context, key string) (struct{}, error) {
	book.add(ctx, key)
	panic("hopeless")
})

var oddlyNamed = cluster.Func("durable.odd\xff", func(context.Context, string) (struct{}, error) { return struct{}{}, nil })

// unreadable is an error whose methods panic, as those of a nil pointer in an error do.
type unreadable struct{ text *string }

func (u unreadable) Error() string { return *u.text }
func (u unreadable) Unwrap() error { panic(*u.text) }

var failingBadly = cluster.Func("durable.failing-badly", func(ctx context.Context, key string) (struct{}, error) {
	book.add(ctx, key)
	return struct{}{}, unreadable{}
})

// TestTheLongestSpanHoldsUpNobody: of all spans of CallLater, one that ends beyond what a
// time.Duration can say.
func TestTheLongestSpanHoldsUpNobody(t *testing.T) {
	a := stored(t)
	s, ctx := serving(t, a, "g"), testCtx(t)
	if err := CallLater(ctx, a, "far", note, "far", math.MaxInt64, Group("g")); err != nil {
		t.Fatal(err)
	}
	until(t, "it waits", func() bool { return s.Stats().Waiting == 1 })
	if err := CallLater(ctx, a, "near", note, "near", 0, Group("g")); err != nil {
		t.Fatal(err)
	}
	until(t, "the next one runs", func() bool { return len(book.of("near")) == 1 })
	if len(book.of("far")) != 0 {
		t.Error("it ran before its time")
	}
}

// TestAnErrorThatNobodyCanRead ends no process: its run failed, and is dead in the end.
func TestAnErrorThatNobodyCanRead(t *testing.T) {
	a := stored(t)
	ref, ctx := newLoop(t, a), testCtx(t)
	for _, begin := range []func(*cluster.Node, string, loopnode.Ref) (*Server, error){Serve, Work} {
		s, err := begin(a, "g", ref)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Stop()
	}
	if err := CallLater(ctx, a, "x", failingBadly, "timer", 0, Group("g"), Attempts(1)); err != nil {
		t.Fatal(err)
	}
	if err := Send(ctx, a, "g", "x", failingBadly, "command", Redeliver(1)); err != nil {
		t.Fatal(err)
	}
	until(t, "both are dead", func() bool {
		letters, err := DeadLetters(ctx, a, "g")
		timers, err2 := Timers(ctx, a, "g")
		return err == nil && err2 == nil && len(letters) == 1 && len(timers) == 1 && timers[0].State == Dead && strings.Contains(letters[0].Error, "methods panic")
	})
}

func only(t testing.TB, n *cluster.Node, group string) Timer {
	t.Helper()
	list, err := Timers(testCtx(t), n, group)
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	return list[0]
}

func TestACallForLaterRunsOnce(t *testing.T) {
	a := stored(t)
	b := beside(t, "b", a)
	ref := newLoop(t, a)
	s, err := Serve(a, "g", ref)
	if err != nil {
		t.Fatal(err)
	}
	key := t.Name()
	begin := time.Now()
	if err := CallLater(testCtx(t), b, "one", note, key, 300*time.Millisecond, Group("g")); err != nil {
		t.Fatal(err)
	}
	if err := CallLater(testCtx(t), b, "one", note, key, 300*time.Millisecond, Group("g")); err != nil {
		t.Error("the same request again:", err)
	}
	wantIs(t, CallLater(testCtx(t), a, "one", note, "else", time.Hour, Group("g")), ErrExists, "durable.note", "Replace")
	until(t, "it ran and is written down", func() bool { return only(t, b, "g").State == Done })
	runs := book.of(key)
	if len(runs) != 1 || time.Since(begin) < 300*time.Millisecond {
		t.Fatalf("%+v after %v", runs, time.Since(begin))
	}
	if r := runs[0]; r.ID != "one" || r.Group != "g" || r.Token == 0 || r.Attempt != 1 || r.Late < 0 || r.Late > 5*time.Second {
		t.Errorf("%+v", r)
	}
	if err := CallLater(testCtx(t), b, "one", note, key, 300*time.Millisecond, Group("g")); err != nil {
		t.Error("the same request after the run:", err)
	}
	if st := s.Stats(); !st.Owner || st.Ran != 1 || st.Failed != 0 {
		t.Errorf("%+v", st)
	}
	if n := len(book.of(key)); n != 1 {
		t.Errorf("it ran %d times", n)
	}
}

func TestListCancelFire(t *testing.T) {
	a := stored(t)
	serving(t, a, DefaultGroup)
	key, ctx := t.Name(), testCtx(t)
	for _, id := range []string{"x", "y"} {
		if err := CallAt(ctx, a, id, note, key+id, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	list, err := Timers(ctx, a, "")
	if err != nil || len(list) != 2 || list[0].State != Pending || list[0].Function != "durable.note" {
		t.Fatalf("%+v, %v", list, err)
	}
	if err := Cancel(ctx, a, DefaultGroup, "x"); err != nil {
		t.Fatal(err)
	}
	wantIs(t, Cancel(ctx, a, DefaultGroup, "x"), ErrNotFound, "cancelled")
	wantIs(t, FireNow(ctx, a, DefaultGroup, "x"), ErrNotFound)
	wantIs(t, Cancel(ctx, a, DefaultGroup, "nobody"), ErrNotFound)
	if err := FireNow(ctx, a, DefaultGroup, "y"); err != nil {
		t.Fatal(err)
	}
	until(t, "y ran", func() bool { return len(book.of(key+"y")) == 1 })
	if len(book.of(key+"x")) != 0 {
		t.Error("x was cancelled and ran")
	}
	if err := CallLater(ctx, a, "x", note, key+"x", 0); err != nil {
		t.Fatal("the id of what was cancelled:", err)
	}
	until(t, "x ran", func() bool { return len(book.of(key+"x")) == 1 })
}

func TestAFailureIsRepeatedAndThenDead(t *testing.T) {
	a := stored(t)
	s := serving(t, a, DefaultGroup)
	key, ctx := t.Name(), testCtx(t)
	if err := CallLater(ctx, a, "twice", failing, key, 0); err != nil {
		t.Fatal(err)
	}
	if err := CallLater(ctx, a, "never", hopeless, key+"-", 0, Attempts(1), Group("other")); err != nil {
		t.Fatal(err)
	}
	until(t, "the second attempt ran", func() bool { return only(t, a, DefaultGroup).State == Done })
	if r := book.of(key); len(r) != 2 || r[1].Attempt != 2 {
		t.Errorf("%+v", r)
	}
	other, err := Serve(a, "other", s.loop)
	if err != nil {
		t.Fatal(err)
	}
	until(t, "it is dead", func() bool { return only(t, a, "other").State == Dead })
	if d := only(t, a, "other"); d.Attempts != 1 || !strings.Contains(d.Error, "hopeless") {
		t.Errorf("%+v", d)
	}
	if err := FireNow(ctx, a, "other", "never"); err != nil {
		t.Fatal(err)
	}
	until(t, "it ran again and is dead again", func() bool { return other.Stats().Dead == 2 })
}

func TestRecurring(t *testing.T) {
	a := stored(t)
	serving(t, a, DefaultGroup)
	key, ctx := t.Name(), testCtx(t)
	if err := Repeat(ctx, a, "beat", note, key, "@every 100ms"); err != nil {
		t.Fatal(err)
	}
	until(t, "it ran four times", func() bool { return len(book.of(key)) >= 4 })
	if err := Repeat(ctx, a, "beat", note, key, "@every 100ms"); err != nil {
		t.Error("the same again:", err)
	}
	if err := Cancel(ctx, a, DefaultGroup, "beat"); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, r := range book.of(key) {
		if seen[r.ID] {
			t.Errorf("%s ran twice", r.ID)
		}
		seen[r.ID] = true
	}
}

func TestTheNextOwnerGoesOn(t *testing.T) {
	a := stored(t)
	b, c := beside(t, "b", a), beside(t, "c", a)
	key, ctx := t.Name(), testCtx(t)
	first := serving(t, b, "g")
	until(t, "b owns it", func() bool { return first.Stats().Owner })
	second := serving(t, c, "g")
	const count = 200
	for i := range count {
		if err := CallLater(ctx, a, fmt.Sprint(i), note, fmt.Sprint(key, i), time.Duration(i)*5*time.Millisecond, Group("g")); err != nil {
			t.Fatal(err)
		}
	}
	b.Close()
	until(t, "all ran", func() bool {
		for i := range count {
			if len(book.of(fmt.Sprint(key, i))) == 0 {
				return false
			}
		}
		return true
	})
	until(t, "c owns it", func() bool { return second.Stats().Owner }) // also when b ran all before it closed
}

func TestWhatIsRefused(t *testing.T) {
	a := stored(t)
	ref, ctx := newLoop(t, a), testCtx(t)
	var none context.Context
	var nobody *cluster.Function[string, struct{}]
	wantIs(t, CallLater(ctx, a, "", note, "", 0), ErrBadID)
	wantIs(t, CallLater(ctx, a, strings.Repeat("x", 129), note, "", 0), ErrBadID)
	wantIs(t, CallLater(ctx, a, "x", note, "", 0, Group("a\nb")), ErrBadID)
	wantIs(t, CallLater(ctx, a, "a\xff", note, "", 0), ErrBadID, "UTF-8")
	wantIs(t, Send(ctx, a, "q", "a\xff", note, ""), ErrBadID, "UTF-8")
	wantIs(t, Send(ctx, a, "q", "x", note, "", Key("a\xff")), cluster.ErrConfig, "UTF-8")
	wantIs(t, CallLater(ctx, a, "x", &cluster.Function[string, struct{}]{}, "", 0), cluster.ErrConfig, "name")
	wantIs(t, Send(ctx, a, "q", "x", oddlyNamed, ""), cluster.ErrConfig, "UTF-8")
	for _, when := range []time.Time{time.Unix(1<<40, 0), time.Unix(-1<<40, 0), time.Unix(math.MaxInt64, 0), time.Date(9999, 12, 31, 23, 0, 0, 0, time.FixedZone("west", -7200))} {
		wantIs(t, CallAt(ctx, a, "x", note, "", when), cluster.ErrConfig, "9999") // JSON has no such time
	}
	wantIs(t, CallLater(none, a, "x", note, "", 0), cluster.ErrConfig)
	wantIs(t, CallLater(ctx, nil, "x", note, "", 0), cluster.ErrConfig)
	wantIs(t, CallLater(ctx, a, "x", nobody, "", 0), cluster.ErrConfig)
	wantIs(t, CallLater(ctx, a, "x", note, "", 0, Attempts(0)), cluster.ErrConfig, "Attempts(0)")
	wantIs(t, CallLater(ctx, a, "x", note, "", 0, Zone("UTC")), cluster.ErrConfig, "Repeat")
	wantIs(t, CallLater(ctx, a, "x", note, strings.Repeat("x", 2<<20), 0), cluster.ErrTooLarge)
	wantIs(t, CallAt(ctx, a, "x", note, "", time.Time{}), cluster.ErrConfig, "zero Time")
	wantIs(t, Repeat(ctx, a, "x", note, "", "every day"), ErrBadRule, "cron expression")
	wantIs(t, Repeat(ctx, a, "x", note, "", ""), ErrBadRule)
	wantIs(t, Repeat(ctx, a, "x", note, "", "@daily", Zone("Mars/Base")), ErrBadRule, "time zone")
	wantIs(t, Repeat(ctx, a, "x", note, "", "@daily", OnMisfire("maybe")), cluster.ErrConfig, "RunOnce")
	_, err := Serve(a, "", ref)
	wantIs(t, err, ErrBadID)
	_, err = Serve(nil, "g", ref)
	wantIs(t, err, cluster.ErrConfig)
	far, err := a.Ref("elsewhere/io-0")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Serve(a, "g", far)
	wantIs(t, err, cluster.ErrConfig, "not of this process")
	if list, err := Timers(ctx, a, ""); err != nil || len(list) != 0 {
		t.Errorf("something was stored: %+v, %v", list, err)
	}
	lone := start(t, cluster.Config{Name: "lone"})
	wantIs(t, CallLater(ctx, lone, "x", note, "", 0), cluster.ErrNoJetStream, "StoreDir")
}

func TestRecordsThatNobodyCanRead(t *testing.T) {
	a := stored(t)
	s := serving(t, a, "g")
	store := records.Of(a.Inside(inside.Key{}))
	for i, garbage := range []string{"", "{", `{"v":9}`, "\x00", `{"v":1,"group":"g","id":"other","state":"pending"}`} {
		if _, err := store.Put(testCtx(t), timerSubject("g", fmt.Sprint(i)), []byte(garbage), 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	key := t.Name()
	if err := CallLater(testCtx(t), a, "0", note, key, 0, Group("g")); err != nil {
		t.Fatal("garbage keeps an id:", err)
	}
	until(t, "what can be read runs", func() bool { return len(book.of(key)) == 1 })
	until(t, "garbage is counted", func() bool { return s.Stats().Garbage >= 4 })
}
