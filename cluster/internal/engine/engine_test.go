package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/cluster/keys"
	"github.com/loopmesh/loopmesh/internal/leaktest"
	"github.com/loopmesh/loopmesh/internal/testport"
)

// logged keeps what is logged. All methods are safe from any goroutine.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: m}) }

// patience bounds every wait of these tests; none of them is expected to use it.
const patience = time.Minute

func testCtx(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// attempt opens an engine with the defaults of these tests.
func attempt(t testing.TB, cfg Config) (*Engine, error) {
	t.Helper()
	if cfg.Log == nil {
		cfg.Log = hclog.NewNullLogger()
	}
	if cfg.Cluster == "" {
		cfg.Cluster = "shop"
	}
	cfg.Number = nextNumber()
	return Open(testCtx(t), cfg)
}

var numbers struct {
	sync.Mutex
	last uint64
}

func nextNumber() uint64 {
	numbers.Lock()
	defer numbers.Unlock()
	numbers.last++
	return numbers.last
}

func opened(t testing.TB, cfg Config) *Engine {
	t.Helper()
	e, err := attempt(t, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

func wantIs(t testing.TB, err error, target error, words ...string) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("got %v, want %v", err, target)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

// until waits for a condition that another goroutine brings about.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
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

func receive[T any](t testing.TB, what string, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(patience):
		t.Fatalf("still waiting for %s", what)
	}
	return v
}

// at is an engine's address as another one joins it.
func at(e *Engine) string {
	_, port, _ := net.SplitHostPort(e.shared().nats.Addr().String())
	return "127.0.0.1:" + port
}

// inbox collects what arrives for a node.
func inbox(t testing.TB, e *Engine) chan *nats.Msg {
	t.Helper()
	ch := make(chan *nats.Msg, 1<<16)
	if err := e.Control().Subscribe(e.Subjects.Frames, func(m *nats.Msg) { ch <- m }); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Control().Ask(testCtx(t)); err != nil {
		t.Fatal(err)
	}
	return ch
}

// hears waits until what one node publishes arrives at another.
func hears(t testing.TB, from *Engine, to string, arrived <-chan *nats.Msg) *nats.Msg {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	for {
		_ = from.Control().Publish(from.Subjects.To(to, 0), "", []byte("hello")) // it may be between two servers
		select {
		case m := <-arrived:
			return m
		case <-tick.C:
		case <-limit:
			t.Fatalf("nothing of %v arrives at %s", from, to)
		}
	}
}

func TestAServerInMemoryListensOnNothing(t *testing.T) {
	a := opened(t, Config{Node: "a"})
	b := opened(t, Config{Node: "b", Beside: a})
	if a.URL() != "" || a.shared().nats.Addr() != nil {
		t.Errorf("it listens on %q", a.URL())
	}
	m := hears(t, b, "a", inbox(t, a))
	if from, rights, ok := a.Subjects.Sender(m.Subject); from != "b" || rights != keys.DefaultGrants().Token() || !ok {
		t.Errorf("sender of %s: %q, %q, %v", m.Subject, from, rights, ok)
	}
	if a.shared().nats.JetStreamEnabled() {
		t.Error("JetStream runs, and nobody uses it")
	}
}

func TestNodesJoinAServerThatListens(t *testing.T) {
	a := opened(t, Config{Node: "a", Listen: "127.0.0.1:0"})
	b := opened(t, Config{Node: "b", Join: []string{at(a)}})
	hears(t, b, "a", inbox(t, a))
	hears(t, a, "b", inbox(t, b))
}

func TestTheServersNoticesNameNodes(t *testing.T) {
	came, gone := make(chan string, 10), make(chan string, 10)
	a := opened(t, Config{Node: "a", Listen: "127.0.0.1:0"})
	note := func(to chan string, node string, number uint64) {
		if node == "b" { // a's own coming may be told late
			to <- fmt.Sprint(node, number)
		}
	}
	opened(t, Config{Node: "watcher", Join: []string{at(a)}, Events: Events{
		Came: func(node string, number uint64) { note(came, node, number) },
		Gone: func(node string, number uint64, _ bool) { note(gone, node, number) },
	}})
	b := opened(t, Config{Node: "b", Join: []string{at(a)}})
	want := fmt.Sprint("b", b.cfg.Number)
	if got := receive(t, "the notice", came); got != want {
		t.Errorf("came: %s, want %s", got, want)
	}
	b.Close()
	if got := receive(t, "the notice", gone); got != want {
		t.Errorf("gone: %s, want %s", got, want)
	}
	if len(came) != 0 || len(gone) != 0 { // a node has three connections
		t.Error("told more than once")
	}
}

func TestANodeIsToldWhenItIsCutOff(t *testing.T) {
	lost, back := make(chan Kind, 30), make(chan Kind, 30)
	address := testport.Address(t)
	a := opened(t, Config{Node: "a", Listen: address})
	b := opened(t, Config{Node: "b", Join: []string{address}, Events: Events{
		Lost: func(k Kind, _ error) { lost <- k }, Back: func(k Kind) { back <- k },
	}})
	if rtt, err := b.Control().Ask(testCtx(t)); err != nil || rtt <= 0 {
		t.Errorf("got %v, %v", rtt, err)
	}
	three := func(what string, ch chan Kind) {
		t.Helper()
		seen := map[Kind]bool{}
		for len(seen) < 3 {
			seen[receive(t, what, ch)] = true
		}
	}
	a.Close()
	three("the loss", lost)
	_, err := b.Control().Ask(testCtx(t))
	wantIs(t, err, ErrDisconnected)
	wantIs(t, b.Control().Publish(b.Subjects.To("x", 0), "", nil), ErrDisconnected)
	again := opened(t, Config{Node: "a", Listen: address})
	three("the next connection", back)
	hears(t, again, "b", inbox(t, b))
}

func TestAClosedLinkSaysSo(t *testing.T) {
	a := opened(t, Config{Node: "a"})
	a.Close()
	a.Close()
	wantIs(t, a.Control().Publish(a.Subjects.To("x", 0), "", nil), ErrClosed)
	_, err := attempt(t, Config{Node: "b", Beside: a})
	wantIs(t, err, ErrConfig, "closed")
}

func TestBadConfigurationsAreRefused(t *testing.T) {
	a := opened(t, Config{Node: "a"})
	three := []string{"10.0.0.1:6222", "10.0.0.2:6222", "10.0.0.3:6222"}
	for words, cfg := range map[string]Config{
		"exclude each other":         {URL: "nats://x", Beside: a},
		"belong to an embedded":      {Listen: "127.0.0.1:0", Beside: a},
		"Listen is":                  {Listen: "4222"},
		"Voter is not set":           {Routes: three},
		"Voter needs Routes":         {Voter: true},
		"use 1, 3 or 5":              {Voter: true, Routes: three[:2]},
		"the loss of 2":              {Voter: true, Routes: append([]string{"10.0.0.4:6222"}, three...)},
		"6 voters":                   {Voter: true, Routes: make([]string, 6)},
		"twice":                      {Voter: true, Routes: []string{three[0], three[0], three[1]}},
		"host:port":                  {Voter: true, Routes: []string{"a", "b", "c"}},
		"needs Listen":               {Voter: true, Routes: three, RouteListen: three[0], Insecure: true},
		"not in Routes":              {Voter: true, Routes: three, RouteListen: "10.0.0.9:6222", Listen: "127.0.0.1:0"},
		"--route-listen":             {Voter: true, Routes: three, Listen: "127.0.0.1:0"},
		"for servers of this":        {Keys: "x", URL: "nats://x"},
		"Insecure means":             {Keys: "x", Insecure: true},
		"Allow is for":               {Keys: "x", Allow: []string{"admin"}},
		"Allow: ":                    {Allow: []string{"fly"}},
		"Credentials, NKey and User": {URL: "nats://x", NKey: "x", User: "u"},
		"for an external":            {User: "u"},
		"without a User":             {URL: "nats://x", Password: "p"},
		"Credentials: ":              {URL: "nats://x", Credentials: "/nowhere"},
		"NKey: ":                     {URL: "nats://x", NKey: "/nowhere"},
		"without a host":             {URL: "nats://:1"},
		"the schemes":                {Join: []string{"http://x"}},
		"17 addresses":               {Join: make([]string, 17)},
		"cannot be read":             {Join: []string{"nats://[::1"}},
		"keys init":                  {Listen: "0.0.0.0:0"},
		"--insecure":                 {Voter: true, Routes: three, RouteListen: three[0], Listen: "127.0.0.1:0"},
	} {
		cfg.Node = "x"
		_, err := attempt(t, cfg)
		wantIs(t, err, ErrConfig, words)
	}
}

// TestWhatMayListen is the whole table of address, keys and Insecure.
func TestWhatMayListen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	if err := keys.Init(dir, "shop", keys.Node{Name: "x", Voter: true}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		listen         string
		keys, insecure bool
		ok             bool
	}{
		{"", false, false, true}, {"", true, false, true}, {"", false, true, true},
		{"127.0.0.1:0", false, false, true}, {"127.0.0.1:0", true, false, true}, {"127.0.0.1:0", false, true, true},
		{"localhost:0", false, false, true}, {"[::1]:0", false, false, true}, {":0", false, false, true},
		{"0.0.0.0:0", false, false, false}, {"0.0.0.0:0", true, false, true}, {"0.0.0.0:0", false, true, true},
		{"[::]:0", false, false, false}, {"n1.lan:0", false, false, false}, {"198.51.100.1:0", false, false, false},
	} {
		cfg := Config{Node: "x", Cluster: "shop", Listen: c.listen, Insecure: c.insecure}
		if c.keys {
			cfg.Keys = dir
		}
		if err := cfg.check(); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestAnOpenPortIsWarnedAbout(t *testing.T) {
	out := &logged{}
	e := opened(t, Config{Node: "x", Listen: "0.0.0.0:0", Insecure: true, Log: hclog.New(&hclog.LoggerOptions{Output: out})})
	if e.Rights("").Admin() || !strings.Contains(out.String(), "open to everybody") {
		t.Error(out.String())
	}
}

// TestAnOpenPortIsWarnedAboutEachHour uses hours of its own.
func TestAnOpenPortIsWarnedAboutEachHour(t *testing.T) {
	if warnAgain != time.Hour {
		t.Errorf("warned about each %v", warnAgain)
	}
	for _, c := range []struct {
		cfg  Config
		each int
	}{{Config{Node: "open", Listen: "0.0.0.0:0", Insecure: true}, 1}, {Config{Node: "local", Listen: "127.0.0.1:0"}, 0}} {
		out, hours := &logged{}, make(chan time.Time)
		c.cfg.Log, c.cfg.hours = hclog.New(&hclog.LoggerOptions{Output: out}), hours
		opened(t, c.cfg)
		for range 3 {
			hours <- time.Time{}
		}
		until(t, "the warnings", func() bool { return strings.Count(out.String(), "open to everybody") == 4*c.each })
	}
}

func TestAPortThatIsTakenIsToldOnce(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	out := &logged{}
	_, err = attempt(t, Config{Node: "x", Listen: l.Addr().String(), Log: hclog.New(&hclog.LoggerOptions{Output: out})})
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("got %v", err)
	}
	if strings.Contains(out.String(), "in use") {
		t.Error("told twice:", out.String())
	}
}

func TestAStoreFolderBelongsToOneNodeOfOneCluster(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	a := opened(t, Config{Node: "a", StoreDir: dir})
	_, err := attempt(t, Config{Node: "a", StoreDir: dir})
	wantIs(t, err, ErrStore, "own StoreDir")
	a.Close()
	_, err = attempt(t, Config{Node: "b", StoreDir: dir})
	wantIs(t, err, ErrStore, `belongs to node "a"`)
	_, err = attempt(t, Config{Node: "a", Cluster: "bank", StoreDir: dir})
	wantIs(t, err, ErrStore, `belongs to cluster "shop"`)
	opened(t, Config{Node: "a", StoreDir: dir}).Close()
}

func TestJetStreamRunsWhereThereIsAStore(t *testing.T) {
	a := opened(t, Config{Node: "a", StoreDir: t.TempDir(), Listen: "127.0.0.1:0"})
	b := opened(t, Config{Node: "b", Join: []string{at(a)}})
	js, err := b.JetStream(testCtx(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.AccountInfo(testCtx(t)); err != nil {
		t.Error(err)
	}
	if _, err := a.JetStream(testCtx(t)); err != nil {
		t.Error("the node with the server:", err)
	}
	c := opened(t, Config{Node: "c", Listen: "127.0.0.1:0"})
	_, err = c.JetStream(testCtx(t))
	wantIs(t, err, ErrNoJetStream, "set StoreDir")
	_, err = opened(t, Config{Node: "d", Join: []string{at(c)}}).JetStream(testCtx(t))
	wantIs(t, err, ErrNoJetStream, "StoreDir")
}

func TestSeveralAddressesOfSeparateServersAreRefused(t *testing.T) {
	a, b := opened(t, Config{Node: "a", Listen: "127.0.0.1:0"}), opened(t, Config{Node: "b", Listen: "127.0.0.1:0"})
	nobody := testport.Address(t)
	_, err := attempt(t, Config{Node: "c", Join: []string{at(a), at(b)}})
	wantIs(t, err, ErrSeparate, at(a), at(b), "--voter")
	_, err = attempt(t, Config{Node: "c", URL: at(a) + "," + at(b)})
	wantIs(t, err, ErrSeparate)
	opened(t, Config{Node: "c", Join: []string{at(a), at(a)}})
	opened(t, Config{Node: "d", Join: []string{nobody, at(a)}})
	_, err = attempt(t, Config{Node: "e", Join: []string{nobody}})
	wantIs(t, err, ErrDisconnected, "is it running")
}

// oldServer answers as a NATS server of that version until the test ends.
func oldServer(t *testing.T, version string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer func() { _ = c.Close() }()
				_, _ = fmt.Fprintf(c, "INFO {\"server_id\":\"X\",\"version\":%q,\"proto\":1,\"headers\":true,\"max_payload\":1048576}\r\n", version)
				buf := make([]byte, 4096)
				for {
					n, err := c.Read(buf)
					if err != nil {
						return
					}
					for range strings.Count(string(buf[:n]), "PING") {
						_, _ = c.Write([]byte("PONG\r\n"))
					}
				}
			})
		}
	})
	return l.Addr().String()
}

func TestAServerThatIsTooOldIsRefused(t *testing.T) {
	_, err := attempt(t, Config{Node: "a", URL: oldServer(t, "2.10.0")})
	wantIs(t, err, ErrTooOld, "2.10.0", oldestServer)
	opened(t, Config{Node: "a", URL: oldServer(t, "2.15.2")})
	for _, c := range []struct {
		a, b string
		want bool
	}{{"2.9.30", "2.12.6", true}, {"2.12.6", "2.12.6", false}, {"2.12.6-beta.1", "2.12.6", false}, {"3.0.0", "2.12.6", false}, {"", "2.12.6", true}} {
		if older(c.a, c.b) != c.want {
			t.Errorf("%q older than %q: %v", c.a, c.b, !c.want)
		}
	}
}

func TestAClockThatDiffersIsWarnedAbout(t *testing.T) {
	out := &logged{}
	told := make(chan time.Duration, 10)
	e := opened(t, Config{Node: "a", Log: hclog.New(&hclog.LoggerOptions{Output: out}), Events: Events{Skew: func(_ string, d time.Duration) { told <- d }}})
	seen, now := &clocks{away: map[string]away{}}, time.Now()
	for _, ahead := range []time.Duration{5 * time.Second, 5 * time.Second, 0, 5 * time.Second, 5 * time.Second} {
		now = now.Add(reportEach)
		e.compareClock("b", ahead, now, seen)
	}
	for range 10 { // what waited while this process was stopped comes together
		e.compareClock("b", 5*time.Second, now, seen)
	}
	if len(told) != 0 {
		t.Error("what was held up on its way is taken for a wrong clock")
	}
	e.compareClock("b", 5*time.Second, now.Add(reportEach), seen)
	if d := receive(t, "the warning", told); d != -5*time.Second || !strings.Contains(out.String(), "ahead=5s") {
		t.Error(d, out.String())
	}
}

func TestVotes(t *testing.T) {
	for _, c := range []struct {
		v    Votes
		want bool
	}{{Votes{}, true}, {Votes{3, []string{"a"}}, false}, {Votes{3, []string{"a", "b"}}, true}, {Votes{5, []string{"a", "b"}}, false}} {
		if c.v.Majority() != c.want {
			t.Errorf("%v: %v", c.v, !c.want)
		}
	}
	if !slices.Equal((&Config{Routes: []string{"b:1", "a:1"}}).Routes, []string{"b:1", "a:1"}) || (&Config{Routes: []string{"b:1", "a:1"}}).routeList() != "a:1,b:1" {
		t.Error("the list is changed")
	}
}

func TestErrorsOfAConnectionAreLoggedAndTold(t *testing.T) {
	out, slow := &logged{}, make(chan string, 1)
	e := opened(t, Config{Node: "a", Log: hclog.New(&hclog.LoggerOptions{Output: out}), Events: Events{Slow: func(s string) { slow <- s }}})
	e.connectionError(Control, &nats.Subscription{Subject: "of-a-test"}, nats.ErrSlowConsumer)
	e.connectionError(Control, nil, errors.New("another one at the same moment"))
	if got := receive(t, "the event", slow); got != "of-a-test" {
		t.Errorf("told of %q", got)
	}
	if s := out.String(); !strings.Contains(s, "slow consumer") || !strings.Contains(s, "of-a-test") || strings.Contains(s, "another one") {
		t.Error(s)
	}
}

func TestWithoutKeysEverybodyHasTheSameRights(t *testing.T) {
	a := opened(t, Config{Node: "a", Listen: "127.0.0.1:0"})
	for _, c := range []struct {
		e    *Engine
		want string
	}{
		{a, "admin,call:*,publish:*,timer:*,write"},
		{opened(t, Config{Node: "b", Beside: a}), "admin,call:*,publish:*,timer:*,write"},
		{opened(t, Config{Node: "c", Join: []string{at(a)}}), "admin,call:*,publish:*,timer:*,write"},
		{opened(t, Config{Node: "d", Allow: []string{"call:math.*"}}), "call:math.*"},
		{opened(t, Config{Node: "e", Listen: "0.0.0.0:0", Insecure: true}), "call:*,publish:*,timer:*,write"},
	} {
		admin, err := keys.ParseGrants([]string{"admin", "spawn:*"})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.e.Rights(admin.Token()).String(); got != c.want {
			t.Errorf("%v: %s, want %s", c.e, got, c.want)
		}
	}
}

func TestAClientThatIsRefusedAgainAndAgainIsOneComplaint(t *testing.T) {
	out := &logged{}
	l := newServerLog(hclog.New(&hclog.LoggerOptions{Output: out}))
	for i := range 100 {
		l.Errorf(fmt.Sprintf("127.0.0.1:%d - cid:%d - authentication error", 40000+i, i))
	}
	l.Errorf("127.0.0.1:7 - cid:7 - another one")
	if n := strings.Count(out.String(), "\n"); n != 2 {
		t.Errorf("%d lines:\n%s", n, out)
	}
}
