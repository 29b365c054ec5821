package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/durable"
	"github.com/loopmesh/loopmesh/cluster/names"
	"github.com/loopmesh/loopmesh/loopnode"
)

var (
	sayNothing = cluster.Func("admin.nothing", func(context.Context, string) (struct{}, error) { return struct{}{}, nil })
	sayNo      = cluster.Func("admin.no", func(context.Context, string) (struct{}, error) {
		return struct{}{}, errors.New("no \x1b[2J")
	})
)

// stored is a node with a store, and the API.
func stored(t *testing.T, allow ...string) *Server {
	t.Helper()
	n, err := cluster.Start(testCtx(t), cluster.Config{Name: "n1", StoreDir: t.TempDir(), Allow: allow, Logger: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	s, err := Open(n, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// filled is one that owns a name, has a call for later, a command that waits and, in
// another queue, a dead letter; all of them with names that are hard to write.
func filled(t *testing.T) *Server {
	t.Helper()
	s, ctx := stored(t), testCtx(t)
	ref, err := s.node.NewLoop("work")
	if err != nil {
		t.Fatal(err)
	}
	_, claimed := names.Claim(ctx, s.node, "orders \u202e/x", loopnode.Ref{})
	_, works := durable.Work(s.node, "failing", ref)
	for _, err := range []error{
		claimed, works,
		durable.CallLater(ctx, s.node, "b/c", sayNothing, "", time.Hour, durable.Group("a")),
		durable.CallLater(ctx, s.node, "c", sayNothing, "", 2*time.Hour, durable.Group("a/b \u202e%")),
		durable.Send(ctx, s.node, "mail", "two", sayNothing, ""),
		durable.Send(ctx, s.node, "failing", "bad", sayNo, "", durable.Redeliver(1)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "a dead letter in place of the command", func() bool {
		dead, _ := request[List[Command]](t, s, "GET", "/api/v1/commands/dead")
		waits, _ := request[List[Command]](t, s, "GET", "/api/v1/commands?queue=failing")
		return len(dead.Items) == 1 && len(waits.Items) == 0
	})
	return s
}

func TestWhatIsStored(t *testing.T) {
	s := filled(t)
	order := func(what, id string) int {
		_, code := request[Done](t, s, "POST", "/api/v1/"+what+"?reason=why&id="+url.QueryEscape(id))
		return code
	}
	owned, _ := request[List[Name]](t, s, "GET", "/api/v1/names")
	i := slices.IndexFunc(owned.Items, func(n Name) bool { return n.ID == "orders \u202e/x" })
	if i < 0 || owned.Items[i].Node != "n1" || owned.Items[i].Token == 0 || owned.Items[i].Incarnation != incarnation(s.node.Incarnation()) || owned.Items[i].Since.IsZero() {
		t.Errorf("%+v", owned)
	}
	t.Run("timers", func(t *testing.T) {
		list, _ := request[List[Timer]](t, s, "GET", "/api/v1/timers")
		if len(list.Items) != 2 || list.Items[0].ID != "a/b%2Fc" || list.Items[0].State != "pending" || list.Items[0].Function != "admin.nothing" || list.Items[0].Due.Before(time.Now()) {
			t.Fatalf("%+v", list)
		}
		second := list.Items[1]
		if second.Group != "a/b \u202e%" || second.Name != "c" || second.ID != "a%2Fb%20%E2%80%AE%25/c" {
			t.Errorf("%+v", second)
		}
		if of, _ := request[List[Timer]](t, s, "GET", "/api/v1/timers?group="+url.QueryEscape(second.Group)); len(of.Items) != 1 || of.Items[0].ID != second.ID {
			t.Errorf("%+v", of)
		}
		if code := order("timers/cancel", second.ID); code != 200 {
			t.Errorf("cancel: %d", code)
		}
		if code := order("timers/cancel", second.ID); code != 404 {
			t.Errorf("cancel twice: %d", code)
		}
		if code := order("timers/fire", second.ID); code != 404 {
			t.Errorf("fire what was cancelled: %d", code)
		}
		if code := order("timers/fire", "a/b%2Fc"); code != 200 {
			t.Errorf("fire: %d", code)
		}
		list, _ = request[List[Timer]](t, s, "GET", "/api/v1/timers")
		if list.Items[0].ID != "a/b%2Fc" || list.Items[0].Due.After(time.Now()) || list.Items[1].State != "cancelled" {
			t.Errorf("%+v", list)
		}
	})
	t.Run("commands", func(t *testing.T) {
		waiting, _ := request[List[Command]](t, s, "GET", "/api/v1/commands?queue=mail")
		if len(waiting.Items) != 1 || waiting.Items[0].ID != "mail/two" || waiting.Items[0].State != "pending" || waiting.Items[0].Name != "two" {
			t.Errorf("%+v", waiting)
		}
		dead, _ := request[List[Command]](t, s, "GET", "/api/v1/commands/dead")
		if d := dead.Items[0]; d.ID != "failing/bad" || d.State != "dead" || d.Attempts != 1 || !strings.Contains(d.Error, "no ") || d.Ended.IsZero() {
			t.Errorf("%+v", dead)
		}
		for _, path := range []string{"commands/dead?queue=mail", "commands?queue=failing"} {
			if list, code := request[List[Command]](t, s, "GET", "/api/v1/"+path); code != 200 || len(list.Items) != 0 {
				t.Errorf("%s: %d %+v", path, code, list)
			}
		}
		if code := order("commands/requeue", "failing/bad"); code != 200 {
			t.Errorf("requeue: %d", code)
		}
		if code := order("commands/requeue", "mail/two"); code != 404 {
			t.Errorf("requeue of what waits: %d", code)
		}
	})
	t.Run("each order is an event", func(t *testing.T) {
		events, _ := request[List[Event]](t, s, "GET", "/api/v1/events?kind=order")
		var told []string
		for _, e := range events.Items {
			told = append(told, e.Code+" "+e.Subject+" "+e.Why)
		}
		if want := []string{codeTimerCancelled + " a%2Fb%20%E2%80%AE%25/c why", codeTimerFired + " a/b%2Fc why", codeRequeued + " failing/bad why"}; !slices.Equal(told, want) {
			t.Errorf("%q", told)
		}
	})
}

// refused puts a request that has to fail and gives its error.
func refused(t *testing.T, s *Server, method, path string) (*Error, int) {
	t.Helper()
	w := httptest.NewRecorder()
	s.handler().ServeHTTP(w, httptest.NewRequest(method, "/api/v1/"+path, nil))
	var doc errorDocument
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || doc.Error == nil || strings.ContainsAny(doc.Error.Message, "\n\x1b\u202e") {
		t.Fatalf("%s: %d %q", path, w.Code, w.Body)
	}
	return doc.Error, w.Code
}

func TestWhatIsNotStored(t *testing.T) {
	s := stored(t)
	for _, c := range []struct {
		method, path string
		status       int
		code, says   string
	}{
		{"POST", "timers/cancel?id=a/b", 404, codeNotStored, `no timer "a/b"`},
		{"POST", "timers/fire?id=a/b", 404, codeNotStored, "timer ls"},
		{"POST", "commands/requeue?id=a/b", 404, codeNotStored, "command dead"},
		{"POST", "timers/fire?id=a/%25E2%2580%25AE", 404, codeNotStored, `no timer "a/%E2%80%AE"`},
		{"POST", "timers/cancel", 400, codeBadRequest, "one slash"},
		{"POST", "timers/cancel?id=b", 400, codeBadRequest, `"b" is not an id`},
		{"POST", "timers/cancel?id=/b", 400, codeBadRequest, "timer ls"},
		{"POST", "timers/cancel?id=a/", 400, codeBadRequest, "timer ls"},
		{"POST", "timers/cancel?id=a/b/c", 400, codeBadRequest, "one slash"},
		{"POST", "timers/cancel?id=a/%25zz", 400, codeBadRequest, `"a/%zz"`},
		{"POST", "timers/cancel?id=a/%1B[2J", 400, codeBadRequest, "control characters"},
		{"POST", "timers/fire?id=a/%250A", 400, codeBadRequest, "control characters"},
		{"POST", "commands/requeue?id=a/" + strings.Repeat("x", 1000), 400, codeBadRequest, "bytes"},
		{"GET", "timers?group=nowhere", 404, codeNotFound, `a group "nowhere"`},
		{"GET", "timers?group=%0A", 400, codeBadRequest, "control characters"},
		{"GET", "commands?queue=nowhere%E2%80%AE", 404, codeNotFound, `a queue "nowhere\u202e"`},
		{"GET", "commands/dead?queue=nowhere", 404, codeNotFound, "every queue"},
		{"GET", "commands?queue=" + strings.Repeat("x", 1000), 400, codeBadRequest, "bytes"},
		{"GET", "timers/cancel?id=a/b", 404, codeNotFound, "openapi.json"},
	} {
		e, status := refused(t, s, c.method, c.path)
		if status != c.status || e.Code != c.code || !strings.Contains(e.Message+" "+e.Hint, c.says) {
			t.Errorf("%s %.60s: %d %+v", c.method, c.path, status, e)
		}
	}
	for _, path := range []string{"names", "placements", "timers", "commands", "commands/dead"} {
		if list, code := request[List[any]](t, s, "GET", "/api/v1/"+path); code != 200 || list.Items == nil || len(list.Items) != 0 {
			t.Errorf("%s: %d %+v", path, code, list)
		}
	}
}

// TestAGroupThatIsServedIsKnown: it is empty, and its list is no error.
func TestAGroupThatIsServedIsKnown(t *testing.T) {
	s := stored(t)
	ref, err := s.node.NewLoop("work")
	if err != nil {
		t.Fatal(err)
	}
	_, serves := durable.Serve(s.node, "shop", ref)
	_, works := durable.Work(s.node, "mail", ref)
	if serves != nil || works != nil {
		t.Fatal(serves, works)
	}
	eventually(t, "both are owned", func() bool {
		list, _ := request[List[Name]](t, s, "GET", "/api/v1/names")
		return len(list.Items) == 2
	})
	for _, path := range []string{"timers?group=shop", "commands?queue=mail", "commands/dead?queue=mail"} {
		if _, code := request[List[any]](t, s, "GET", "/api/v1/"+path); code != 200 {
			t.Errorf("%s: %d", path, code)
		}
	}
}

func TestWithoutAStore(t *testing.T) {
	s, _ := pair(t)
	for _, c := range [][2]string{
		{"GET", "names"}, {"GET", "placements"}, {"GET", "timers"}, {"GET", "timers?group=x"}, {"GET", "commands"}, {"GET", "commands/dead?queue=x"}, {"POST", "timers/cancel?id=a/b"},
		{"POST", "timers/fire?id=a/b"}, {"POST", "commands/requeue?id=a/b"},
	} {
		if e, _ := refused(t, s, c[0], c[1]); e.Kind != Refused || e.Code != CodeNoJetStream || !strings.Contains(e.Message, "--store") {
			t.Errorf("%v: %+v", c, e)
		}
	}
}

// TestAnOrderToTheStoreNeedsTheRightAdmin: looking takes none.
func TestAnOrderToTheStoreNeedsTheRightAdmin(t *testing.T) {
	s := stored(t, "call:*", "timer:*", "write")
	if err := durable.CallLater(testCtx(t), s.node, "one", sayNothing, "", time.Hour, durable.Group("shop")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"timers/cancel?id=shop/one", "timers/fire?id=shop/one", "commands/requeue?id=mail/one"} {
		if e, _ := refused(t, s, "POST", path); e.Kind != Refused || e.Code != codeNoRight || !strings.Contains(e.Message, "admin") {
			t.Errorf("%s: %+v", path, e)
		}
	}
	if list, _ := request[List[Timer]](t, s, "GET", "/api/v1/timers"); len(list.Items) != 1 || list.Items[0].State != "pending" || list.Items[0].Due.Before(time.Now()) {
		t.Errorf("%+v", list)
	}
}

// TestIDsAreOneArgument: whatever a program calls its groups and calls, an id is read back
// as what was written, and is neither a flag nor several words.
func TestIDsAreOneArgument(t *testing.T) {
	met := map[string]bool{}
	for _, c := range [][2]string{
		{"a", "b"}, {"a/b", "c"}, {"a", "b/c"}, {"-s", "x"}, {"--socket=", "x"}, {"a%2Fb", "c"}, {"a b", "'c'"}, {"%", "\""}, {"\u202e", "\xff"}, {".", ".."}, {"$(x)", "`y`*?;|"},
	} {
		id := storeID(c[0], c[1])
		in, name, err := cutStoreID(id, "timer ls")
		if err != nil || in != c[0] || name != c[1] || met[id] {
			t.Errorf("%q is %q, read as %q %q: %v", c, id, in, name, err)
		}
		if strings.HasPrefix(id, "-") || strings.ContainsAny(id, " '\"`*?;|()\\<>\n\u202e") {
			t.Errorf("%q is not one word: %q", c, id)
		}
		met[id] = true
	}
}

// TestALongListSaysThatItIsCut: what the store does not give is in Partial.
func TestALongListSaysThatItIsCut(t *testing.T) {
	if list := commandItems(make([]durable.Command, durable.MaxListed-1), "mail"); len(list.Partial) != 0 {
		t.Errorf("%+v", list.Partial)
	}
	if list := commandItems(make([]durable.Command, durable.MaxListed), ""); len(list.Partial) != 1 || list.Partial[0].ID != "queues" {
		t.Errorf("%+v", list.Partial)
	}
}
