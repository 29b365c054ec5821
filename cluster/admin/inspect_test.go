package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/clustertest"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

var update = flag.Bool("update", false, "write the generated documents anew")

// request puts one request and decodes its answer.
func request[T any](t *testing.T, s *Server, method, path string) (out T, code int) {
	t.Helper()
	w := httptest.NewRecorder()
	s.handler().ServeHTTP(w, httptest.NewRequest(method, path, nil))
	if w.Code == http.StatusOK {
		in := json.NewDecoder(w.Body)
		in.DisallowUnknownFields()
		if err := in.Decode(&out); err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
	}
	return out, w.Code
}

// busyPair are two nodes with the API; on loop "jobs" of the second one live two tasks,
// a server with a connection, and an actor.
func busyPair(t *testing.T) *Server {
	t.Helper()
	s, other := pair(t)
	if _, err := Open(other, hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	ref, err := other.NewLoop("jobs")
	if err != nil {
		t.Fatal(err)
	}
	l, _ := ref.Local()
	ready := loopnode.RunCoroutineThreadsafe(l.Ref(), "begin", func(ctx context.Context) (struct{}, error) {
		inner := loopnode.Go(ctx, "inner \x1b[2J", func(ctx context.Context) error { return loopnode.Sleep(ctx, time.Hour) })
		loopnode.Go(ctx, "outer", func(ctx context.Context) error { _, err := inner.Await(ctx); return err })
		server, err := transportactors.StartServer(ctx, func(_ context.Context, s *transportactors.Stream) error {
			_, err := s.Read(make([]byte, 1))
			return err
		}, "tcp", "127.0.0.1:0")
		if err != nil {
			return struct{}{}, err
		}
		c, err := net.Dial("tcp", server.Addrs()[0].String())
		if err != nil {
			return struct{}{}, err
		}
		t.Cleanup(func() { _ = c.Close() })
		_, err = other.Actors().Spawn(l, "clock", func() actors.Actor { return actors.Func(func(*actors.Context) {}) })
		return struct{}{}, err
	})
	if _, err := ready.Wait(testCtx(t)); err != nil {
		t.Fatal(err)
	}
	return s
}

// eventually waits for a state that other goroutines bring about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatal("not in time: ", what)
		}
	}
}

func TestWhatRunsOnAnotherNode(t *testing.T) {
	s := busyPair(t)
	task := func(name string) (Task, bool) {
		list, _ := request[List[Task]](t, s, "GET", "/api/v1/tasks?stack=8")
		i := slices.IndexFunc(list.Items, func(t Task) bool { return t.Name == name })
		if i < 0 {
			return Task{}, false
		}
		return list.Items[i], true
	}
	inner, ok := task("inner \x1b[2J")
	outer, _ := task("outer")
	if !ok || inner.State != "waiting" || inner.Waits != "loopnode.Sleep" || !slices.Equal(inner.AwaitedBy, []string{outer.ID}) || inner.Circle {
		t.Errorf("inner %+v, outer %+v", inner, outer)
	}
	if len(inner.Stack) == 0 || !strings.Contains(inner.Stack[0], "inspect_test.go") || !strings.HasPrefix(inner.Parent, "n2/jobs/tasks/") {
		t.Errorf("%+v", inner)
	}
	eventually(t, "for how long it waits is known", func() bool {
		inner, _ = task("inner \x1b[2J")
		return inner.WaitsUS != nil && *inner.WaitsUS > 0
	})
	loops, _ := request[List[Loop]](t, s, "GET", "/api/v1/loops?measure=50ms")
	i := slices.IndexFunc(loops.Items, func(l Loop) bool { return l.ID == "n2/jobs" })
	if i < 0 || loops.Items[i].State != Running || loops.Items[i].Timers == 0 || loops.Items[i].Watched == 0 {
		t.Fatalf("%+v", loops)
	}
	if m := loops.Items[i].Measured; m == nil || m.Turns == 0 || m.ForUS < 50_000 || m.Busy <= 0 || m.Busy > 1 || len(m.TurnsByTime) == 0 || m.LagMaxUS < m.LagP50US {
		t.Errorf("%+v", m)
	}
	listeners, _ := request[List[Listener]](t, s, "GET", "/api/v1/servers")
	if len(listeners.Items) != 1 || listeners.Items[0].ID != "n2/jobs/servers/1" || !listeners.Items[0].Serving || len(listeners.Items[0].Addresses) != 1 {
		t.Errorf("%+v", listeners)
	}
	conns, _ := request[List[Conn]](t, s, "GET", "/api/v1/conns")
	if len(conns.Items) != 1 || conns.Items[0].High == 0 || conns.Items[0].Paused != "" {
		t.Errorf("%+v", conns)
	}
	all, _ := request[List[Actor]](t, s, "GET", "/api/v1/actors")
	if !slices.ContainsFunc(all.Items, func(a Actor) bool { return a.ID == "n2/clock" && a.Loop == "jobs" }) {
		t.Errorf("%+v", all)
	}
	if procs, code := request[List[Child]](t, s, "GET", "/api/v1/procs"); code != 200 || len(procs.Items) != 0 {
		t.Errorf("%d %+v", code, procs)
	}
	t.Run("and it is stopped", func(t *testing.T) {
		for _, path := range []string{
			"tasks/cancel?reason=tired&id=" + inner.ID, "servers/close?id=n2/jobs/servers/1", "actors/stop?id=n2/clock",
		} {
			if done, code := request[Done](t, s, "POST", "/api/v1/"+path); code != 200 || done.Kind != "Done" {
				t.Errorf("%s: %d %+v", path, code, done)
			}
		}
		eventually(t, "the task, the server and the actor are gone", func() bool {
			_, lives := task("outer")
			listeners, _ := request[List[Listener]](t, s, "GET", "/api/v1/servers")
			all, _ := request[List[Actor]](t, s, "GET", "/api/v1/actors")
			return !lives && len(listeners.Items) == 0 && !slices.ContainsFunc(all.Items, func(a Actor) bool { return a.ID == "n2/clock" })
		})
		events, _ := request[List[Event]](t, s, "GET", "/api/v1/events?kind=order")
		var codes []string
		for _, e := range events.Items {
			codes = append(codes, e.Code)
		}
		slices.Sort(codes)
		if !slices.Equal(codes, []string{codeTaskCancelled, codeServerClosed, codeActorStopped}) {
			t.Errorf("%+v", events.Items)
		}
	})
}

func TestWhatOrdersRefuse(t *testing.T) {
	s := busyPair(t)
	for _, c := range []struct {
		path string
		code int
	}{
		{"tasks/cancel?id=n2/jobs/tasks/9999", 404}, {"tasks/cancel?id=n2/jobs", 400}, {"tasks/cancel?id=n2/jobs/tasks/x", 400}, {"tasks/cancel", 400},
		{"tasks/cancel?id=n7/jobs/tasks/1", 404}, {"tasks/cancel?id=n2/nowhere/tasks/1", 404}, {"servers/close?id=n2/jobs/servers/0", 404},
		{"servers/close?id=n2/jobs/servers/2", 404}, {"procs/signal?id=n2/jobs/procs/1", 404}, {"procs/signal?id=n2/jobs/procs/1&signal=LAUGH", 400},
		{"procs/signal?id=n2/jobs/procs/1&signal=99", 400}, {"actors/stop?id=n7/clock", 404}, {"actors/stop?id=clock", 400}, {"actors/stop?id=", 400},
	} {
		if _, code := request[Done](t, s, "POST", "/api/v1/"+c.path); code != c.code {
			t.Errorf("%s: %d, want %d", c.path, code, c.code)
		}
	}
	for _, path := range []string{
		"loops?measure=1h", "loops?measure=soon", "tasks?stack=0", "tasks?stack=many", "events?since=yesterday", "events?kind=rumour", "events?kind=LM0000",
		"events/stream?kind=rumour",
	} {
		if _, code := request[any](t, s, "GET", "/api/v1/"+path); code != 400 {
			t.Errorf("%s: %d", path, code)
		}
	}
}

// TestAnOrderNeedsTheRightAdmin: the right to call every function is not enough.
func TestAnOrderNeedsTheRightAdmin(t *testing.T) {
	var nodes []*cluster.Node
	for _, cfg := range []cluster.Config{{Name: "n1", Allow: []string{"call:*", "write"}}, {Name: "n2"}} {
		cfg.Logger = hclog.NewNullLogger()
		if len(nodes) > 0 {
			cfg.Beside = nodes[0]
		}
		n, err := cluster.Start(testCtx(t), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(n.Close)
		nodes = append(nodes, n)
	}
	if err := nodes[1].WaitMembers(testCtx(t), 2); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(nodes[0], hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	s, err := Open(nodes[1], hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	if list, code := request[List[Task]](t, s, "GET", "/api/v1/tasks"); code != 200 || len(list.Partial) != 0 {
		t.Errorf("looking: %d %+v", code, list.Partial)
	}
	w := httptest.NewRecorder()
	s.handler().ServeHTTP(w, httptest.NewRequest("POST", "/api/v1/tasks/cancel?id=n1/admin/tasks/1", nil))
	if w.Code != http.StatusTooManyRequests || !strings.Contains(w.Body.String(), codeNoRight) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	eventually(t, "the node that was asked notes it", func() bool {
		list, _ := request[List[Event]](t, s, "GET", "/api/v1/events?kind="+codeRightMissing)
		return len(list.Items) == 1 && list.Items[0].Node == "n1"
	})
	for _, path := range []string{"profile?of=heap&id=n1", "log/tail?id=n1", "log/levels?id=n1", "log/level?level=debug&id=n1"} {
		if _, code := request[any](t, s, "POST", "/api/v1/"+path); code != statuses[Refused] {
			t.Errorf("%s: %d", path, code)
		}
	}
}

func TestADeadNodeStaysListedUntilItIsBack(t *testing.T) {
	c := clustertest.New(t, 3, nil)
	c.Together()
	s, err := Open(c.Node("n1"), hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"n2", "n3"} {
		if _, err := Open(c.Node(name), hclog.NewNullLogger()); err != nil {
			t.Fatal(err)
		}
	}
	state := func(name, query string) string {
		list, _ := request[List[Node]](t, s, "GET", "/api/v1/nodes"+query)
		for _, n := range list.Items {
			if n.ID == name {
				return n.State
			}
		}
		return "not listed"
	}
	c.Crash("n3")
	eventually(t, "n3 is listed as dead", func() bool { return state("n3", "") == Dead })
	nodes, _ := request[List[Node]](t, s, "GET", "/api/v1/nodes")
	for _, n := range nodes.Items {
		if n.ID == "n3" && !n.LastSeen.Before(n.Ended) {
			t.Errorf("n3 was last seen at %v, and given up at %v", n.LastSeen, n.Ended)
		}
	}
	list, _ := request[List[Event]](t, s, "GET", "/api/v1/events?kind="+codeDead)
	if len(list.Items) == 0 || list.Items[0].Subject != "n3" || list.Items[0].Why == "" || list.Items[0].Level != "error" || list.Items[0].Kind != "node" {
		t.Errorf("%+v", list)
	}
	c.Restart("n3")
	if _, err := Open(c.Node("n3"), hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "n3 is back", func() bool { return state("n3", "") == Ready })
	c.Node("n2").Close()
	eventually(t, "n2 has left", func() bool { return state("n2", "?all=true") == Left })
	if got := state("n2", ""); got != "not listed" {
		t.Errorf("a node that left is %s", got)
	}
}

func TestABlockedLoopIsAnEventAndNotLive(t *testing.T) {
	s := busyPair(t)
	ref, err := s.node.NewLoop("stuck")
	if err != nil {
		t.Fatal(err)
	}
	l, _ := ref.Local()
	release := make(chan struct{})
	if err := l.Ref().CallSoonThreadsafe(func() { <-release }); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is noted", func() bool {
		list, _ := request[List[Event]](t, s, "GET", "/api/v1/events?kind=loop&subject=n1/stuck")
		return slices.ContainsFunc(list.Items, func(e Event) bool { return e.Code == codeLoopBlocked && strings.Contains(e.Why, "inspect_test.go") })
	})
	if _, code := request[any](t, s, "GET", "/livez"); code != http.StatusServiceUnavailable {
		t.Errorf("livez says %d", code)
	}
	ctx, cancel := context.WithTimeout(testCtx(t), 6*time.Second) // a third of it for each question
	defer cancel()
	list := s.loops(ctx, 0)
	i := slices.IndexFunc(list.Items, func(l Loop) bool { return l.ID == "n1/stuck" })
	if i < 0 || list.Items[i].State != Blocked || !strings.Contains(list.Items[i].Frame, "inspect_test.go") || list.Items[i].BlockedMS <= 0 || len(list.Partial) != 1 {
		t.Errorf("%+v", list)
	}
	close(release)
	eventually(t, "it is noted that it goes on", func() bool {
		list, _ := request[List[Event]](t, s, "GET", "/api/v1/events?kind="+codeLoopMoves)
		w := httptest.NewRecorder()
		s.handler().ServeHTTP(w, httptest.NewRequest("GET", "/livez", nil))
		return len(list.Items) == 1 && w.Code == 200
	})
	w := httptest.NewRecorder()
	s.handler().ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
	if w.Code != 200 {
		t.Errorf("readyz: %d %s", w.Code, w.Body)
	}
	s.node.Close()
	w = httptest.NewRecorder()
	s.handler().ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("readyz of a closed node: %d %s", w.Code, w.Body)
	}
}

func TestEventsAreFollowedOverTheSocket(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	s := busyPair(t)
	if err := s.Listen(Path("n1")); err != nil {
		t.Fatal(err)
	}
	c := NewClient(Path("n1"))
	defer c.Close()
	ctx, cancel := context.WithCancel(testCtx(t))
	defer cancel()
	seen := make(chan Event, 100)
	ended := make(chan error, 1)
	go func() {
		ended <- c.Follow(ctx, EventFilter{Kinds: "order,LM4101"}, func(e Event) error { seen <- e; return nil }, func([]Missing) error { return nil })
	}()
	if e := <-seen; e.Code != codeJoined {
		t.Errorf("first %+v", e)
	}
	list, err := c.Tasks(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(list.Items, func(t Task) bool { return t.Name == "outer" })
	if _, err := c.CancelTask(ctx, list.Items[i].ID, "test"); err != nil {
		t.Fatal(err)
	}
	for e := range seen {
		if e.Code == codeTaskCancelled {
			if e.Why != "test" || e.Text != "outer" || !strings.HasPrefix(e.ID, "n2/") {
				t.Errorf("%+v", e)
			}
			break
		}
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("the stream ended without an error")
	}
	if err := c.Follow(testCtx(t), EventFilter{Kinds: "rumour"}, nil, nil); err == nil || !strings.Contains(err.Error(), "rumour") {
		t.Errorf("%v", err)
	}
	t.Run("Close ends streams", func(t *testing.T) {
		go func() {
			ended <- c.Follow(testCtx(t), EventFilter{}, func(Event) error { return nil }, func([]Missing) error { return nil })
		}()
		s.Close()
		if err := <-ended; err == nil {
			t.Error("no error")
		}
	})
}

func TestTheRingIsBounded(t *testing.T) {
	r := newRing()
	for range 5 * maxEvents {
		r.add(Event{})
	}
	all, last := r.behind(0, 1<<20)
	if len(all) > maxEvents || last != 5*maxEvents || all[len(all)-1].number != last {
		t.Errorf("%d events up to %d", len(all), last)
	}
	if few, _ := r.behind(last-3, 2); len(few) != 2 || few[0].number != last-1 {
		t.Errorf("%+v", few)
	}
	if none, _ := r.behind(last, 10); len(none) != 0 {
		t.Errorf("%+v", none)
	}
}

func TestThePort(t *testing.T) {
	s, _ := pair(t)
	const token = "0123456789abcdef-secret"
	for _, c := range []struct{ address, token string }{{"0.0.0.0:0", ""}, {"127.0.0.1:0", "short"}, {":0", ""}} {
		if _, err := s.ListenTCP(c.address, c.token); !errors.Is(err, ErrNeedsToken) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	ask := func(at net.Addr, method, path, host, token string, more ...string) int {
		t.Helper()
		r, err := http.NewRequestWithContext(testCtx(t), method, "http://"+at.String()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if host != "" {
			r.Host = host
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		for i := 0; i+1 < len(more); i += 2 {
			r.Header.Set(more[i], more[i+1])
		}
		r.Close = true
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	at, err := s.ListenTCP("127.0.0.1:0", token)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method, path, host, token string
		code                      int
	}{
		{"GET", "/api/v1/self", "", "", 200}, {"GET", "/livez", "", "", 200}, {"GET", "/api/v1/self", "localhost:1", "", 200}, {"GET", "/api/v1/self", "[::1]", "", 200},
		{"GET", "/api/v1/self", "", token + "x", 401}, {"POST", "/api/v1/conns/close?id=n1/x/transports/1", "", "", 401},
		{"POST", "/api/v1/conns/close?id=n1/admin/transports/1", "", token, 404}, {"GET", "/api/v1/self", "evil.example", token, 401},
		{"DELETE", "/api/v1/self", "", "", 401}, {"PUT", "/api/v1/self", "", token, 404},
	} {
		if got := ask(at, c.method, c.path, c.host, c.token); got != c.code {
			t.Errorf("%+v: %d", c, got)
		}
	}
	if got := ask(at, "POST", "/api/v1/conns/close?id=n1/admin/transports/1", "", token, "Sec-Fetch-Site", "cross-site"); got != 403 {
		t.Errorf("a page of another site: %d", got)
	}
	w := httptest.NewRecorder()
	s.guarded(s.handler(), false).ServeHTTP(w, httptest.NewRequest("GET", "http://127.0.0.1/api/v1/self", nil))
	if w.Code != 401 || strings.Contains(w.Body.String(), token) {
		t.Errorf("beyond loopback: %d %s", w.Code, w.Body)
	}
}

func TestServeIsOneCall(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	n, err := cluster.Start(testCtx(t), cluster.Config{Name: "n1", Logger: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if _, err := Serve(nil); !errors.Is(err, cluster.ErrConfig) {
		t.Errorf("%v", err)
	}
	s, err := Serve(n, WithTCP("127.0.0.1:0", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c := NewClient(Path("n1"))
	defer c.Close()
	if self, err := c.Self(testCtx(t)); err != nil || self.Name != "n1" {
		t.Errorf("%+v %v", self, err)
	}
	if _, err := Serve(n); !errors.Is(err, cluster.ErrNameTaken) {
		t.Errorf("twice: %v", err)
	}
}

// TestTheDocumentsThatAreGenerated compares the copies in docs/ with what the code says.
func TestTheDocumentsThatAreGenerated(t *testing.T) {
	api, err := json.MarshalIndent(OpenAPI(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	var page strings.Builder
	fmt.Fprintf(&page, "# Codes\n\nOf errors, events and log lines; `loopmesh explain CODE` prints the same. A code keeps its meaning for ever.\nThis page is made from `cluster/admin/codes.go` (`go test ./cluster/admin -update`).\n")
	for _, c := range Codes() {
		fmt.Fprintf(&page, "\n## %s\n\n**%s.** %s\n\n*Do:* %s\n", c.Code, c.Title, c.Cause, c.Do)
	}
	for name, want := range map[string]string{"openapi.json": string(api) + "\n", "errors.md": page.String()} {
		path := "../../docs/" + name
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%s is old: go test ./cluster/admin -update", path)
		}
	}
}

// TestAnswersFitTheirSchemas puts every question that changes nothing and checks the
// answer against the description.
func TestAnswersFitTheirSchemas(t *testing.T) {
	running, kept := busyPair(t), filled(t)
	schemas := OpenAPI()["components"].(map[string]any)["schemas"].(map[string]any)
	for _, rt := range routes() {
		if rt.method != "GET" {
			continue
		}
		s := running
		if slices.Contains([]string{"/api/v1/names", "/api/v1/placements", "/api/v1/timers", "/api/v1/commands", "/api/v1/commands/dead", "/api/v1/streams"}, rt.path) {
			s = kept // they take a store
		}
		got, code := request[any](t, s, "GET", rt.path)
		if code != 200 {
			t.Errorf("%s: %d", rt.path, code)
			continue
		}
		kind, _ := got.(map[string]any)["kind"].(string)
		schema, ok := schemas[kind]
		if !ok {
			t.Errorf("%s: no schema of %q", rt.path, kind)
			continue
		}
		fits(t, rt.path, got, schema.(map[string]any), schemas)
	}
	if _, ok := Schema("NodeList"); !ok || len(Kinds()) < 10 {
		t.Error("NodeList has no schema")
	}
	if _, ok := Schema("Nonsense"); ok {
		t.Error("nonsense has a schema")
	}
}

// fits checks the parts of JSON Schema that OpenAPI uses.
func fits(t *testing.T, at string, v any, schema map[string]any, all map[string]any) {
	t.Helper()
	if ref, ok := schema["$ref"].(string); ok {
		schema = all[strings.TrimPrefix(ref, "#/components/schemas/")].(map[string]any)
	}
	switch schema["type"] {
	case "object":
		m, ok := v.(map[string]any)
		if !ok {
			t.Errorf("%s is no object", at)
			return
		}
		if more, ok := schema["additionalProperties"].(map[string]any); ok {
			for k, below := range m {
				fits(t, at+"."+k, below, more, all)
			}
			return
		}
		properties := schema["properties"].(map[string]any)
		for k, below := range m {
			p, ok := properties[k].(map[string]any)
			if !ok {
				t.Errorf("%s.%s is not described", at, k)
				continue
			}
			fits(t, at+"."+k, below, p, all)
		}
		for _, k := range schema["required"].([]string) {
			if _, ok := m[k]; !ok {
				t.Errorf("%s lacks %s", at, k)
			}
		}
	case "array":
		items, ok := v.([]any)
		if !ok {
			t.Errorf("%s is no array: %v", at, v)
		}
		for _, item := range items {
			fits(t, at+"[]", item, schema["items"].(map[string]any), all)
		}
	case "string":
		if _, ok := v.(string); !ok {
			t.Errorf("%s is no string: %v", at, v)
		}
	case "boolean":
		if _, ok := v.(bool); !ok {
			t.Errorf("%s is no boolean: %v", at, v)
		}
	case "integer":
		if n, ok := v.(float64); !ok || n != float64(int64(n)) {
			t.Errorf("%s is no whole number: %v", at, v)
		}
	}
}

// TestCodesAreWhole: each code has an explanation, and each explanation its own code.
func TestCodesAreWhole(t *testing.T) {
	met := map[string]bool{}
	for _, c := range Codes() {
		if len(c.Code) != 6 || !strings.HasPrefix(c.Code, "LM") || met[c.Code] || c.Title == "" || c.Cause == "" || c.Do == "" || strings.HasSuffix(c.Title, ".") {
			t.Errorf("%+v", c)
		}
		met[c.Code] = true
	}
	source, err := os.ReadFile("codes.go")
	if err != nil {
		t.Fatal(err)
	}
	in := bufio.NewScanner(strings.NewReader(string(source)))
	for in.Scan() {
		if _, rest, ok := strings.Cut(in.Text(), ` = "LM`); ok && !met["LM"+strings.TrimSuffix(rest, `"`)] {
			t.Errorf("%s has no explanation", in.Text())
		}
	}
	for _, c := range codesOfErrors {
		if e := asError(fmt.Errorf("x: %w", c.err)); e.Code == "" || CodeOf(c.err) == "" {
			t.Errorf("%v has the code %q", c.err, e.Code)
		}
	}
}

// What has a handler of its own is described, too, and nothing is described that there is not.
func TestStreamsAreDescribed(t *testing.T) {
	paths := OpenAPI()["paths"].(map[string]any)
	for path, form := range streamTypes {
		operations, _ := paths[path].(map[string]any)
		if len(operations) != 1 {
			t.Fatalf("%s has %d operations", path, len(operations))
		}
		for _, op := range operations {
			content := op.(map[string]any)["responses"].(map[string]any)["200"].(map[string]any)["content"].(map[string]any)
			if content[form] == nil {
				t.Errorf("%s answers %v", path, content)
			}
		}
	}
	mux := (&Server{}).handler()
	for _, rt := range streamRoutes() {
		r := httptest.NewRequest(rt.method, rt.path, strings.NewReader("no document"))
		q := r.URL.Query()
		q.Set("kind", "rumour") // refused by the stream of events, before it begins
		r.URL.RawQuery = q.Encode()
		answer := httptest.NewRecorder()
		mux.ServeHTTP(answer, r)
		if answer.Code != http.StatusBadRequest {
			t.Errorf("%s %s: %d %s", rt.method, rt.path, answer.Code, answer.Body)
		}
	}
}
