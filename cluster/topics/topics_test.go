package topics

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/codec"
	"github.com/loopmesh/loopmesh/cluster/internal/subject"
	"github.com/loopmesh/loopmesh/cluster/keys"
	"github.com/loopmesh/loopmesh/internal/leaktest"
	"github.com/loopmesh/loopmesh/internal/wire"
	"github.com/loopmesh/loopmesh/loopnode"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: m}) }

func testCtx(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func start(t testing.TB, cfg cluster.Config) *cluster.Node {
	t.Helper()
	cfg.Logger = hclog.NewNullLogger()
	n, err := cluster.Start(testCtx(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n
}

// group starts n1 with a server, and the others as its clients.
func group(t testing.TB, count int, cfg cluster.Config) []*cluster.Node {
	t.Helper()
	var nodes []*cluster.Node
	for i := range count {
		cfg.Name, cfg.Listen, cfg.Join = fmt.Sprintf("n%d", i+1), "127.0.0.1:0", nil
		if i > 0 {
			cfg.Listen, cfg.Join = "", []string{strings.TrimPrefix(strings.TrimPrefix(nodes[0].URL(), "nats://"), "tls://")}
		}
		nodes = append(nodes, start(t, cfg))
	}
	for _, n := range nodes {
		if err := n.WaitMembers(testCtx(t), count); err != nil {
			t.Fatal(err)
		}
	}
	return nodes
}

func newLoop(t testing.TB, n *cluster.Node, name string) loopnode.Ref {
	t.Helper()
	ref, err := n.NewLoop(name)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	limit, tick := time.After(time.Minute), time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-limit:
			t.Fatal("not within a minute:", what)
		case <-tick.C:
		}
	}
}

// log is what one subscriber was told, in order. Any goroutine.
type log struct {
	mu    sync.Mutex
	lines []string
}

func (l *log) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
}

func (l *log) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines)
}

func (l *log) len() int { return len(l.all()) }

func (l *log) want(t testing.TB, want ...string) {
	t.Helper()
	until(t, fmt.Sprint("a subscriber hears ", want), func() bool { return l.len() >= len(want) })
	if got := l.all(); !slices.Equal(got, want) {
		t.Fatalf("heard %q, want %q", got, want)
	}
}

// hear subscribes and waits until the server knows.
func hear[T any](t testing.TB, topic Topic[T], n *cluster.Node, loop loopnode.Ref, l *log) *Subscription {
	t.Helper()
	sub, err := topic.Subscribe(n, loop, func(m Message[T]) { l.add(fmt.Sprint(m.Value)) },
		OnGap(func(g Gap) { l.add(fmt.Sprintf("gap of %d: %v", g.Missed, reasonOf(g))) }))
	if err != nil {
		t.Fatal(err)
	}
	if err := sub.Ready(testCtx(t)); err != nil {
		t.Fatal(err)
	}
	return sub
}

func reasonOf(g Gap) error {
	for _, kind := range []error{ErrSlow, cluster.ErrLost, cluster.ErrBadPayload} {
		if errors.Is(g.Reason, kind) {
			return kind
		}
	}
	return g.Reason
}

func publish[T any](t testing.TB, topic Topic[T], n *cluster.Node, v T) {
	t.Helper()
	if err := topic.Publish(n, v); err != nil {
		t.Fatal(err)
	}
}

type item struct {
	Number int
	Text   string
}

// TestOneFrameANode: 10,000 subscribers on 6 loops of 3 nodes hear each message; the
// publisher sends one frame, and the other nodes receive one each.
func TestOneFrameANode(t *testing.T) {
	const subscribers, messages = 10_000, 50
	nodes := group(t, 3, cluster.Config{})
	news := Named[item]("news")
	var calls, wrong atomic.Int64
	for i, n := range nodes {
		loops := []loopnode.Ref{newLoop(t, n, "a"), newLoop(t, n, "b")}
		share := subscribers / 3
		if i == 0 {
			share += subscribers % 3
		}
		for j := range share {
			next := 0 // of the loop's goroutine alone
			sub, err := news.Subscribe(n, loops[j%2], func(m Message[item]) {
				if m.Value.Number != next || m.Node != "n1" {
					wrong.Add(1)
				}
				next++
				calls.Add(1)
			})
			if err != nil {
				t.Fatal(err)
			}
			if j == share-1 {
				if err := sub.Ready(testCtx(t)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	tapped := tap(t, nodes[0], "news")
	for i := range messages {
		publish(t, news, nodes[0], item{i, "text"})
	}
	until(t, "everybody hears everything", func() bool { return calls.Load() == subscribers*messages })
	if wrong.Load() != 0 {
		t.Error(wrong.Load(), "calls out of order")
	}
	for i, n := range nodes {
		s := StatsOf(n)
		if want := uint64(messages); i == 0 && (s.Published != want || s.Received != 0) || i > 0 && (s.Published != 0 || s.Received != want) {
			t.Errorf("%s: %+v, want one frame for each of %d messages", n.Name(), s, want)
		}
		if s.Dropped+s.Lost+s.Unreadable != 0 {
			t.Errorf("%s: %+v", n.Name(), s)
		}
	}
	until(t, "the tap hears the frames", func() bool { return tapped.Load() >= messages })
	if tapped.Load() != messages {
		t.Error(tapped.Load(), "frames on the wire for", messages, "messages")
	}
	t.Logf("%d calls of subscribers for %d frames of n1; n1 %+v, n2 %+v", calls.Load(), messages, StatsOf(nodes[0]), StatsOf(nodes[1]))
}

// tap counts the frames of a topic on the server, as a client that is no node.
func tap(t testing.TB, n *cluster.Node, topic string) *atomic.Int64 {
	t.Helper()
	conn, err := nats.Connect(n.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	var count atomic.Int64
	if _, err := conn.Subscribe(subject.New("loopmesh", "tap", 1, "d").Topics(topic), func(*nats.Msg) { count.Add(1) }); err != nil {
		t.Fatal(err)
	}
	if err := conn.FlushTimeout(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	return &count
}

func TestPublisherAndOtherNodesHearTheSame(t *testing.T) {
	nodes := group(t, 2, cluster.Config{})
	topic := Named[item]("room.1")
	var here, there log
	mine := hear(t, topic, nodes[0], newLoop(t, nodes[0], "io"), &here)
	hear(t, topic, nodes[1], newLoop(t, nodes[1], "io"), &there)
	publish(t, topic, nodes[0], item{1, "a"})
	publish(t, topic, nodes[1], item{2, "b"}) // of another publisher: no order between the two
	here.wantSet(t, "{1 a}", "{2 b}")
	there.wantSet(t, "{1 a}", "{2 b}")
	mine.Cancel()
	mine.Cancel()
	publish(t, topic, nodes[0], item{3, "c"})
	until(t, "the other one hears on", func() bool { return there.len() == 3 })
	if here.len() != 2 {
		t.Error("a cancelled subscriber heard", here.all())
	}
	if s := StatsOf(nodes[0]); s.Subscriptions != 0 || s.Topics != 0 {
		t.Errorf("%+v", s)
	}
}

func (l *log) wantSet(t testing.TB, want ...string) {
	t.Helper()
	until(t, fmt.Sprint("a subscriber hears ", want), func() bool { return l.len() >= len(want) })
	got := l.all()
	slices.Sort(got)
	if slices.Sort(want); !slices.Equal(got, want) {
		t.Fatalf("heard %q, want %q", got, want)
	}
}

// TestASlowLoopHearsOfItsGap: a loop that is stuck gets what fits and a gap; the other
// loop of its node, the publisher and the other node notice nothing.
func TestASlowLoopHearsOfItsGap(t *testing.T) {
	const messages = 3000
	nodes := group(t, 2, cluster.Config{})
	topic := Named[int]("numbers")
	stuck, fast := newLoop(t, nodes[1], "stuck"), newLoop(t, nodes[1], "fast")
	var slow, quick log
	hear(t, topic, nodes[1], stuck, &slow)
	hear(t, topic, nodes[1], fast, &quick)
	release := block(t, stuck)
	for i := range messages {
		publish(t, topic, nodes[0], i)
		if i%500 == 499 {
			until(t, "the other loop keeps up", func() bool { return quick.len() == i+1 })
		}
	}
	if slow.len() != 0 {
		t.Fatal("the loop is not stuck")
	}
	release()
	gap := fmt.Sprintf("gap of %d: %v", messages-maxOfTopic, ErrSlow)
	until(t, "the slow loop has caught up", func() bool { return slow.len() == maxOfTopic+1 })
	if got := slow.all(); got[0] != "0" || got[maxOfTopic-1] != fmt.Sprint(maxOfTopic-1) || got[maxOfTopic] != gap {
		t.Errorf("first %s, last %s, then %s, want %q", got[0], got[maxOfTopic-1], got[maxOfTopic], gap)
	}
	if s := StatsOf(nodes[1]); s.Dropped != messages-maxOfTopic || s.Received != messages {
		t.Errorf("%+v", s)
	}
	publish(t, topic, nodes[0], messages)
	until(t, "it goes on", func() bool { return slow.len() == maxOfTopic+2 })
}

// TestAGapIsBetweenWhatCameBeforeAndAfter: what is dropped while the loop is stuck is
// told in front of the message that fits again.
func TestAGapIsBetweenWhatCameBeforeAndAfter(t *testing.T) {
	n := start(t, cluster.Config{Name: "n1"})
	topic := Named[int]("numbers")
	loop := newLoop(t, n, "io")
	var got log
	first := true
	_, err := topic.Subscribe(n, loop, func(m Message[int]) {
		got.add(fmt.Sprint(m.Value))
		if first { // one place is free now, and the loop is still in this callback
			first = false
			publish(t, topic, n, 9999)
		}
	}, OnGap(func(g Gap) { got.add(fmt.Sprint("gap of ", g.Missed)) }))
	if err != nil {
		t.Fatal(err)
	}
	release := block(t, loop)
	for i := range maxOfTopic + 7 {
		publish(t, topic, n, i)
	}
	release()
	until(t, "all is told", func() bool { return got.len() == maxOfTopic+2 })
	if end := got.all()[maxOfTopic-1:]; !slices.Equal(end, []string{fmt.Sprint(maxOfTopic - 1), "gap of 7", "9999"}) {
		t.Error("the end is", end)
	}
}

// block keeps a loop in a callback until release is called.
func block(t testing.TB, loop loopnode.Ref) (release func()) {
	t.Helper()
	began, end := make(chan struct{}), make(chan struct{})
	if err := loop.CallSoonThreadsafe(func() { close(began); <-end }); err != nil {
		t.Fatal(err)
	}
	<-began
	release = sync.OnceFunc(func() { close(end) })
	t.Cleanup(release)
	return release
}

// TestAGapOnTheWayIsTold: a node that is no loopmesh program publishes messages 1, 4, 4
// and 5 of a series, then begins another one.
func TestAGapOnTheWayIsTold(t *testing.T) {
	n := start(t, cluster.Config{Name: "n1", Listen: "127.0.0.1:0"})
	topic := Named[int]("numbers")
	var got log
	hear(t, topic, n, newLoop(t, n, "io"), &got)
	conn, err := nats.Connect(n.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	send := func(name string, series, count uint64, v int) {
		f := wire.Frame{Kind: wire.Publish, From: "x", FromNumber: 7, Function: name, Flow: series, At: wire.Amount{Messages: count}}
		if f.Codec, f.Payload, err = codec.Encode(v); err != nil {
			t.Fatal(err)
		}
		if err := conn.Publish(subject.New("loopmesh", "x", 7, "d").Topic("numbers"), f.Append(nil)); err != nil {
			t.Fatal(err)
		}
	}
	send("numbers", 5, 1, 1)
	send("numbers", 5, 4, 4)
	send("numbers", 5, 4, 4)
	send("numbers", 5, 5, 5)
	send("others", 5, 6, 6) // not what its subject says
	send("numbers", 0, 6, 6)
	send("numbers", 6, 9, 9)
	got.want(t, "1", "gap of 2: lost on the way", "4", "5", "9")
	if s := StatsOf(n); s.Lost != 2 || s.Received != 4 {
		t.Errorf("%+v", s)
	}
	if n.Stats().Malformed != 2 {
		t.Error(n.Stats().Malformed, "frames were refused")
	}
}

func TestASubscriberThatPanics(t *testing.T) {
	n := start(t, cluster.Config{Name: "n1"})
	var failed atomic.Int64
	loop, err := n.NewLoop("io", func(c *loopnode.Config) {
		c.ExceptionHandler = func(*loopnode.Loop, loopnode.ExceptionContext) { failed.Add(1) }
	})
	if err != nil {
		t.Fatal(err)
	}
	topic := Named[int]("numbers")
	var got log
	for i := range 3 {
		if _, err := topic.Subscribe(n, loop, func(m Message[int]) {
			if i == 1 {
				panic("a subscriber fails")
			}
			got.add(fmt.Sprint(i, m.Value))
		}); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, topic, n, 1)
	publish(t, topic, n, 2)
	got.want(t, "0 1", "2 1", "0 2", "2 2")
	if failed.Load() != 2 {
		t.Error(failed.Load(), "failures were reported")
	}
}

type picky struct{}

func (*picky) UnmarshalCBOR([]byte) error { panic("cannot be read") }

// TestAMessageThatDoesNotFit is a gap for who expects another type, and a message for
// who does not.
func TestAMessageThatDoesNotFit(t *testing.T) {
	nodes := group(t, 2, cluster.Config{})
	text, number, odd, same := Named[string]("t"), Named[int]("t"), Named[picky]("t"), Named[string]("t")
	var asText, asNumber, asOdd, here log
	hear(t, same, nodes[0], newLoop(t, nodes[0], "io"), &here)
	hear(t, number, nodes[1], newLoop(t, nodes[1], "a"), &asNumber)
	hear(t, odd, nodes[1], newLoop(t, nodes[1], "b"), &asOdd)
	hear(t, text, nodes[1], newLoop(t, nodes[1], "c"), &asText)
	publish(t, text, nodes[0], "hello")
	asText.want(t, "hello")
	here.want(t, "hello")
	asNumber.want(t, "gap of 1: bad payload")
	asOdd.want(t, "gap of 1: bad payload")
	if s := StatsOf(nodes[1]); s.Unreadable != 2 {
		t.Errorf("%+v", s)
	}
	if err := Named[func()]("t").Publish(nodes[0], func() {}); !errors.Is(err, cluster.ErrBadPayload) {
		t.Error(err)
	}
}

// TestTopicsTakeARight: n2 may publish to news.* only; what it publishes to others is
// refused here, and by the receiver when its program does not ask.
func TestTopicsTakeARight(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	if err := keys.Init(dir, "shop", keys.Node{Name: "n1"}, keys.Node{Name: "n2", Grants: []string{"publish:news.*"}}, keys.Node{Name: "n3", Grants: []string{"none"}}); err != nil {
		t.Fatal(err)
	}
	nodes := group(t, 3, cluster.Config{Keys: dir})
	var got, heard log
	news, gossip := Named[int]("news.local"), Named[int]("gossip")
	loop := newLoop(t, nodes[0], "io")
	hear(t, news, nodes[0], loop, &got)
	hear(t, gossip, nodes[0], loop, &got)
	hear(t, news, nodes[2], newLoop(t, nodes[2], "io"), &heard) // who has no rights may hear
	if err := gossip.Publish(nodes[1], 1); !errors.Is(err, cluster.ErrRefused) || !strings.Contains(err.Error(), "publish:gossip") {
		t.Error(err)
	}
	if err := news.Publish(nodes[2], 1); !errors.Is(err, cluster.ErrRefused) {
		t.Error(err)
	}
	publish(t, news, nodes[1], 2)
	publish(t, gossip, nodes[0], 3)
	got.wantSet(t, "2", "3")
	heard.want(t, "2")
	id, err := keys.Load(dir, "n2")
	if err != nil {
		t.Fatal(err)
	}
	rogue := connectAs(t, nodes[0], dir, "n2")
	f := wire.Frame{Kind: wire.Publish, From: "n2", FromNumber: 7, Function: "gossip", Flow: 5, At: wire.Amount{Messages: 1}, Codec: wire.CBOR, Payload: []byte{4}}
	refused := nodes[0].Stats().NoRight
	if err := rogue.Publish(subject.New("shop", "n2", 7, id.Grants.Token()).Topic("gossip"), f.Append(nil)); err != nil {
		t.Fatal(err)
	}
	until(t, "the receiver refuses it", func() bool { return nodes[0].Stats().NoRight == refused+1 })
	// In another name, or with more rights, the server does not take it.
	for _, as := range []*subject.Space{subject.New("shop", "n1", 7, "d"), subject.New("shop", "n2", 7, "d")} {
		if err := rogue.Publish(as.Topic("gossip"), f.Append(nil)); err != nil {
			t.Fatal(err)
		}
	}
	if err := rogue.FlushTimeout(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	publish(t, gossip, nodes[0], 5)
	got.wantSet(t, "2", "3", "5")
}

// connectAs is a bare connection with the keys of a node.
func connectAs(t testing.TB, n *cluster.Node, dir, name string) *nats.Conn {
	t.Helper()
	id, err := keys.Load(dir, name)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := nats.Connect(n.URL(), nats.UserJWT(func() (string, error) { return id.Statement, nil }, id.Sign),
		nats.Secure(keys.ClientTLS(func() *keys.Identity { return id })), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

func TestTheEndOfALoopAndOfANode(t *testing.T) {
	n := start(t, cluster.Config{Name: "n1"})
	topic := Named[int]("numbers")
	var first, second log
	one := newLoop(t, n, "one")
	sub := hear(t, topic, n, one, &first)
	hear(t, topic, n, newLoop(t, n, "two"), &second)
	one.Stop()
	until(t, "the loop's subscriber is gone", func() bool { return StatsOf(n).Subscriptions == 1 })
	publish(t, topic, n, 1)
	second.want(t, "1")
	sub.Cancel()
	if _, err := topic.Subscribe(n, one, func(Message[int]) {}); !errors.Is(err, cluster.ErrClosed) {
		t.Error(err)
	}
	n.Close()
	if err := topic.Publish(n, 2); !errors.Is(err, cluster.ErrClosed) {
		t.Error(err)
	}
	if s := StatsOf(n); s.Subscriptions != 0 || s.Topics != 0 {
		t.Errorf("%+v", s)
	}
}

func TestWhatCannotBeATopic(t *testing.T) {
	n := start(t, cluster.Config{Name: "n1", MaxPayload: 1 << 10})
	loop := newLoop(t, n, "io")
	there, err := n.Ref("n2/io")
	if err != nil {
		t.Fatal(err)
	}
	fn := func(Message[string]) {}
	for what, bad := range map[string]func() error{
		"no name":        func() error { return Named[string]("").Publish(n, "") },
		"a long name":    func() error { return Named[string](strings.Repeat("x", 129)).Publish(n, "") },
		"the nodes' own": func() error { return Named[string]("$x").Publish(n, "") },
		"no node":        func() error { return Named[string]("x").Publish(nil, "") },
		"no function":    func() error { _, err := Named[string]("x").Subscribe(n, loop, nil); return err },
		"not its name":   func() error { _, err := Named[string]("$x").Subscribe(n, loop, fn); return err },
		"another's loop": func() error { _, err := Named[string]("x").Subscribe(n, there, fn); return err },
		"no loop":        func() error { _, err := Named[string]("x").Subscribe(n, loopnode.Ref{}, fn); return err },
	} {
		if err := bad(); !errors.Is(err, cluster.ErrConfig) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := Named[string]("x").Publish(n, strings.Repeat("x", 2000)); !errors.Is(err, cluster.ErrTooLarge) {
		t.Error(err)
	}
}
