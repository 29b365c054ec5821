package engine

import (
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/loopmesh/loopmesh/cluster/keys"
	"github.com/loopmesh/loopmesh/internal/testport"
)

// voters opens v1, v2 and v3, with the keys in dir unless it is "".
func voters(t testing.TB, dir string) ([]*Engine, []Config) {
	t.Helper()
	routes := testport.Addresses(t, 3)
	var all []*Engine
	var cfgs []Config
	for i := range routes {
		cfg := Config{
			Node: fmt.Sprintf("v%d", i+1), Voter: true, Routes: routes, RouteListen: routes[i], Listen: "127.0.0.1:0",
			StoreDir: filepath.Join(t.TempDir(), "store"), Keys: dir,
		}
		all, cfgs = append(all, opened(t, cfg)), append(cfgs, cfg)
	}
	for _, e := range all {
		until(t, "all voters are connected", func() bool { return len(e.Votes().Connected) == 3 })
	}
	return all, cfgs
}

func addresses(all []*Engine) (out []string) {
	for _, e := range all {
		out = append(out, at(e))
	}
	return out
}

func TestThreeVotersAreOneCluster(t *testing.T) {
	all, cfgs := voters(t, "")
	client := opened(t, Config{Node: "c", Join: addresses(all)})
	arrived := inbox(t, client)
	for _, v := range all {
		hears(t, v, "c", arrived)
	}
	// Voters that do not start at the same moment need up to nine seconds to elect.
	until(t, "JetStream has a leader", func() bool { _, err := client.JetStream(testCtx(t)); return err == nil })
	until(t, "the client knows the voters", func() bool { return len(client.Votes().Connected) == 3 && client.Votes().Voters == 3 })

	t.Run("one of them goes and comes back", func(t *testing.T) {
		all[0].Close()
		hears(t, all[2], "c", arrived)
		until(t, "the others notice", func() bool { return slices.Equal(all[1].Votes().Connected, []string{"v2", "v3"}) })
		if !all[1].Votes().Majority() {
			t.Error("two of three are a majority")
		}
		again := opened(t, cfgs[0])
		until(t, "it is back", func() bool { return len(again.Votes().Connected) == 3 })
		hears(t, again, "c", arrived)
	})
	t.Run("without the others it knows that it is alone", func(t *testing.T) {
		all[1].Close()
		all[2].Close()
		lonely := opened(t, Config{Node: "v3", Voter: true, Routes: testport.Addresses(t, 3), RouteListen: "", Listen: "127.0.0.1:0", StoreDir: t.TempDir()}.withOwn(2))
		if lonely.Votes().Majority() || lonely.Votes().Voters != 3 {
			t.Error(lonely.Votes())
		}
		begin := time.Now()
		_, err := lonely.JetStream(testCtx(t))
		wantIs(t, err, ErrNoQuorum)
		if took := time.Since(begin); took > 2*quorumWait {
			t.Error("it took", took)
		}
	})
}

// withOwn makes one of the routes the node's own.
func (c Config) withOwn(i int) Config { c.RouteListen = c.Routes[i]; return c }

// TestAVoterNamesAllAddresses: those that the other voters have told, and before they have,
// those of a voter that has a host of its own.
func TestAVoterNamesAllAddresses(t *testing.T) {
	all, _ := voters(t, "")
	want := addresses(all)
	slices.Sort(want)
	for _, v := range all {
		until(t, v.cfg.Node+" knows all addresses", func() bool {
			have := slices.Clone(v.JoinAddresses())
			slices.Sort(have)
			return slices.Equal(have, want)
		})
		if first := v.JoinAddresses()[0]; first != at(v) {
			t.Errorf("%s begins with %s", v.cfg.Node, first)
		}
	}
	routes := []string{"127.0.0.1:" + port(testport.Address(t)), "127.0.0.2:1", "127.0.0.3:1"}
	alone := opened(t, Config{Node: "x", Voter: true, Routes: routes, RouteListen: routes[0], Listen: "127.0.0.1:0"})
	_, own, _ := hostPort(at(alone))
	if have, want := strings.Join(alone.JoinAddresses(), " "), fmt.Sprintf("127.0.0.1:%d 127.0.0.2:%d 127.0.0.3:%d", own, own, own); have != want {
		t.Errorf("%s, want %s", have, want)
	}
	client := opened(t, Config{Node: "z", Join: []string{at(all[0]), at(all[1]), at(all[2])}})
	if have, want := client.JoinAddresses(), client.cfg.Join; len(have) != 3 || !slices.Contains(want, have[0]) || !slices.Contains(have, want[2]) {
		t.Errorf("a client of %v says that one joins at %v", want, have)
	}
	if have := opened(t, Config{Node: "y"}).JoinAddresses(); len(have) != 0 {
		t.Errorf("a node that does not listen: %v", have)
	}
}

func port(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }

func TestTheVoterIsFoundAmongTheRoutes(t *testing.T) {
	for _, c := range []struct {
		node   string
		routes []string
		want   string
	}{
		{"n2", []string{"n1.lan:6222", "n2.lan:6222", "n3.lan:6222"}, "n2.lan:6222"},
		{"x", []string{"198.51.100.1:6222", "127.0.0.1:6222", "198.51.100.3:6222"}, "127.0.0.1:6222"},
		{"x", []string{"198.51.100.1:6222", "198.51.100.2:6222", "198.51.100.3:6222"}, ""},
		{"x", []string{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"}, ""},
		{"x", []string{"127.0.0.5:1", "127.0.0.6:2", "127.0.0.7:3"}, "127.0.0.6:2"},
	} {
		cfg := Config{Node: c.node, Voter: true, Routes: c.routes, Listen: "127.0.0.6:4222"}
		if own, err := cfg.ownRoute(); own != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%v: %q, %v", c.routes, own, err)
		}
	}
}

func TestAVoterWithAnotherListIsRefused(t *testing.T) {
	all, _ := voters(t, "")
	routes := append(slices.Clone(all[0].cfg.Routes[:2]), testport.Address(t))
	_, err := attempt(t, Config{Node: "v4", Voter: true, Routes: routes, RouteListen: routes[2], Listen: "127.0.0.1:0"})
	wantIs(t, err, ErrConfig, "other Routes", routes[2])
}

func TestARoutePortThatIsTakenIsSaidSo(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	routes := append(testport.Addresses(t, 2), l.Addr().String())
	_, err = attempt(t, Config{Node: "v3", Voter: true, Routes: routes, RouteListen: routes[2], Listen: "127.0.0.1:0"})
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("got %v", err)
	}
}

func TestAClientMovesToAnotherVoterSoon(t *testing.T) {
	all, _ := voters(t, "")
	back := make(chan time.Time, 10)
	lost := make(chan time.Time, 10)
	client := opened(t, Config{Node: "c", Join: addresses(all), Events: Events{
		Lost: func(k Kind, _ error) {
			if k == Control {
				lost <- time.Now()
			}
		},
		Back: func(k Kind) {
			if k == Control {
				back <- time.Now()
			}
		},
	}})
	home := client.Control().current().nats.ConnectedServerName()
	var other *Engine
	for _, v := range all {
		if v.cfg.Node == home {
			defer v.Close()
			v.shared().nats.Shutdown()
			continue
		}
		other = v
	}
	begin := receive(t, "the loss", lost)
	t.Logf("back after %v", receive(t, "the next connection", back).Sub(begin))
	hears(t, client, other.cfg.Node, inbox(t, other))
}

func TestClosedVoters(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	if err := keys.Init(dir, "shop",
		keys.Node{Name: "v1", Voter: true}, keys.Node{Name: "v2", Voter: true}, keys.Node{Name: "v3", Voter: true},
		keys.Node{Name: "c"}, keys.Node{Name: "bad"}); err != nil {
		t.Fatal(err)
	}
	all, _ := voters(t, dir)
	gone := make(chan string, 10)
	client := opened(t, Config{Node: "c", Join: addresses(all[:2]), Keys: dir, Events: Events{Gone: func(node string, _ uint64, _ bool) { gone <- node }}})
	arrived := inbox(t, client)
	for _, v := range all {
		hears(t, v, "c", arrived)
	}
	bad := opened(t, Config{Node: "bad", Join: addresses(all[2:]), Keys: dir})
	hears(t, bad, "c", arrived)
	t.Run("a key that is revoked at one machine is refused everywhere", func(t *testing.T) {
		if n, err := keys.Revoke(dir, "bad", false); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		begin := time.Now()
		if node := receive(t, "its end", gone); node != "bad" {
			t.Errorf("%s is gone", node)
		}
		t.Logf("cut off after %v", time.Since(begin))
		until(t, "it notices", func() bool { return !bad.Control().Connected() })
		for _, v := range all {
			_, err := attempt(t, Config{Node: "bad", Join: []string{at(v)}, Keys: dir})
			wantIs(t, err, ErrDenied, "revoked")
		}
		hears(t, client, "v1", inbox(t, all[0]))
	})
	t.Run("a node that is no voter cannot connect as one", func(t *testing.T) {
		routes := append(slices.Clone(all[0].cfg.Routes[:2]), testport.Address(t))
		_, err := attempt(t, Config{Node: "c", Voter: true, Routes: routes, RouteListen: routes[2], Listen: "127.0.0.1:0", Keys: dir})
		wantIs(t, err, ErrConfig, "not those of a voter")
		// One that does not check itself.
		if err := keys.Add(dir, keys.Node{Name: "w", Voter: true}); err != nil {
			t.Fatal(err)
		}
		if _, err := attempt(t, Config{Node: "w", Cluster: "bank", Voter: true, Routes: routes, RouteListen: routes[2], Listen: "127.0.0.1:0", Keys: dir}); err == nil {
			t.Error("keys of another cluster are taken")
		}
	})
}

// TestRevocationReachesAVoterThatHasAnotherFolder: only one machine has the new
// file; the voters tell each other.
func TestRevocationReachesAVoterThatHasAnotherFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	if err := keys.Init(dir, "shop", keys.Node{Name: "a"}, keys.Node{Name: "b"}, keys.Node{Name: "bad"}); err != nil {
		t.Fatal(err)
	}
	apart := filepath.Join(t.TempDir(), "b")
	copyDir(t, filepath.Join(dir, "nodes", "b"), apart)
	b := opened(t, Config{Node: "b", Listen: "127.0.0.1:0", Keys: apart})
	a := opened(t, Config{Node: "a", Join: []string{at(b)}, Keys: dir})
	bad := opened(t, Config{Node: "bad", Join: []string{at(b)}, Keys: dir})
	if _, err := keys.Revoke(dir, "bad", false); err != nil {
		t.Fatal(err)
	}
	until(t, "the server cuts it off", func() bool { return !bad.Control().Connected() })
	if !a.Control().Connected() {
		t.Error("another node is cut off as well")
	}
	b.Close() // and it knows when it starts again
	again := opened(t, Config{Node: "b", Listen: "127.0.0.1:0", Keys: apart})
	_, err := attempt(t, Config{Node: "bad", Join: []string{at(again)}, Keys: dir})
	wantIs(t, err, ErrDenied)
}

// sent is how many numbers went to a node.
type sent struct {
	to string
	n  int
}

func TestNewKeysAreTakenWithoutLosingAMessage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	if err := keys.Init(dir, "shop", keys.Node{Name: "a"}, keys.Node{Name: "b"}); err != nil {
		t.Fatal(err)
	}
	a := opened(t, Config{Node: "a", Listen: "127.0.0.1:0", Keys: dir})
	lost := make(chan error, 10)
	b := opened(t, Config{Node: "b", Join: []string{at(a)}, Keys: dir, Events: Events{Lost: func(_ Kind, err error) { lost <- err }}})
	fromB, fromA := counting(t, a), counting(t, b)
	stop, done, failed, ctx := make(chan struct{}), make(chan sent, 2), make(chan error, 2), testCtx(t)
	send := func(from *Engine, to string) {
		n := 0
		for ; ; n++ {
			select {
			case <-stop:
				done <- sent{to, n}
				return
			default:
			}
			if err := from.Control().Publish(from.Subjects.To(to, 0), "", fmt.Append(nil, n)); err != nil {
				failed <- err
				done <- sent{to, n}
				return
			}
			if n%50 == 0 { // not faster than they are read
				if _, err := from.Control().Ask(ctx); err != nil {
					failed <- err
					done <- sent{to, n}
					return
				}
			}
		}
	}
	go send(a, "b")
	go send(b, "a")
	old := b.identity().Statement
	links := func() (list []*Link) { // each moves by itself
		for _, l := range []*Link{a.control, a.bulk, a.notices, b.control, b.bulk, b.notices} {
			if l != nil {
				list = append(list, l)
			}
		}
		return list
	}()
	before := map[*Link]*connection{}
	for _, l := range links {
		before[l] = l.current()
	}
	for _, name := range []string{"a", "b"} {
		if err := keys.Rotate(dir, name); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "both have moved", func() bool {
		return !slices.ContainsFunc(links, func(l *Link) bool { return l.current() == before[l] })
	})
	if b.identity().Statement == old {
		t.Error("the old keys are in use")
	}
	for _, name := range []string{"a", "b"} {
		if n, err := keys.Revoke(dir, name, true); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	until(t, "the server knows the revoked keys", func() bool {
		c, err := a.identity().Revocations()
		return err == nil && len(c.Revocations) == 2
	})
	if _, err := b.Control().Ask(testCtx(t)); err != nil {
		t.Error("cut off with new keys:", err)
	}
	close(stop)
	counts := map[string]int{}
	for range 2 {
		d := <-done
		counts[d.to] = d.n
	}
	if len(failed) != 0 {
		t.Error("publishing:", <-failed)
	}
	complete(t, "a from b", fromB, counts["a"])
	complete(t, "b from a", fromA, counts["b"])
	t.Logf("published %v", counts)
	if len(lost) != 0 {
		t.Error("a connection was lost:", <-lost)
	}
}

// series checks that numbers arrive in order; one that was there before may come
// again.
type series struct {
	mu          sync.Mutex
	next, again int
	wrong       string
}

func (s *series) arrived(m *nats.Msg) {
	n, err := strconv.Atoi(string(m.Data))
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil && n == s.next:
		s.next++
	case err == nil && n < s.next:
		s.again++
	case s.wrong == "":
		s.wrong = fmt.Sprintf("%s after %d", m.Data, s.next-1)
	}
}

func counting(t *testing.T, e *Engine) *series {
	t.Helper()
	s := &series{}
	if err := e.Control().Subscribe(e.Subjects.Frames, s.arrived); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Control().Ask(testCtx(t)); err != nil {
		t.Fatal(err)
	}
	return s
}

// complete checks that all numbers up to count have arrived.
func complete(t *testing.T, what string, s *series, count int) {
	t.Helper()
	until(t, what+": all arrive", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.next == count || s.wrong != "" })
	s.mu.Lock()
	defer s.mu.Unlock()
	next, again := s.next, s.again
	if s.wrong != "" {
		t.Errorf("%s: %s", what, s.wrong)
	}
	t.Logf("%s: %d, and %d twice", what, next, again)
}

// TestAClientLeavesTheSmallerSide: a client whose server is cut off from the other
// voters moves to one that it can reach, and stays where it is when there is none.
func TestAClientLeavesTheSmallerSide(t *testing.T) {
	all, _ := voters(t, "")
	client := opened(t, Config{Node: "c", Join: addresses(all)})
	until(t, "it knows the voters", func() bool { return len(client.Votes().Connected) == 3 })
	server := func() string { return client.Control().current().nats.ConnectedServerName() }
	home := server()
	cutOff := func() { // as its server would report it
		client.mu.Lock()
		client.minority.since = time.Now().Add(-time.Hour)
		client.mu.Unlock()
		client.leaveMinority(time.Now())
	}
	until(t, "it has moved", func() bool {
		if now := server(); now != home && client.Control().Connected() {
			return true
		}
		cutOff()
		return false
	})
	var other *Engine
	for _, v := range all {
		if v.cfg.Node == server() {
			other = v
		}
	}
	hears(t, client, other.cfg.Node, inbox(t, other))
	for _, v := range all {
		if v != other {
			v.Close()
		}
	}
	until(t, "all its connections are there, and it knows that its server is alone", func() bool {
		for _, l := range []*Link{client.control, client.bulk, client.notices} { // each may have moved to another one
			if !l.Connected() || l.current().nats.ConnectedServerName() != other.cfg.Node {
				return false
			}
		}
		return !client.Votes().Majority()
	})
	moves := func() int {
		client.mu.Lock()
		defer client.mu.Unlock()
		return client.minority.moves
	}
	before := moves()
	for range 3 {
		cutOff()
	}
	if after := moves(); after != before || server() != other.cfg.Node {
		t.Errorf("it left the only server that it can reach: %d moves, now at %s", after-before, server())
	}
}

func TestTheWaitToLeaveTheSmallerSideGrows(t *testing.T) {
	var m minority
	at := time.Unix(1000, 0)
	m.note(false, at)
	m.note(false, at.Add(time.Second))
	for _, wait := range []time.Duration{2, 4, 8, 16, 32, 64, 64, 64} {
		wait *= time.Second
		if m.due(m.since.Add(wait-1)) || !m.due(m.since.Add(wait)) {
			t.Errorf("after %d moves it is not %v", m.moves, wait)
		}
		m.moves++
	}
	m.note(true, at)
	if m.due(at.Add(time.Hour)) || m.moves != 0 {
		t.Error("on the larger side it would leave")
	}
}
