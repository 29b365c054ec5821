package admin

import (
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
)

// FuzzRequest: whatever is asked of the API, the answer is one JSON document, an
// error has a kind, and a node that was asked is there afterwards.
func FuzzRequest(f *testing.F) {
	for _, seed := range [][2]string{
		{"call", `{"function":"x","on":"n1/admin","payload":1}`}, {"call", `{"function":"","on":"/"}`}, {"call", `{"on":"n1@0/x"}`},
		{"call", `{`}, {"call", `null`}, {"call", `[]`}, {"call", "{\"payload\":\xff}"}, {"call", `{"function":1}`}, {"call", ""},
		{"call", `{"function":"x","on":"n9/io","payload":{"a":[1,2,{"b":null}]}}`}, {"call", strings.Repeat("[", 20_000)},
		{"call?timeout=1h", `{}`}, {"call?timeout=x", `{}`}, {"conns/write?id=n1/admin/transports/1", "x"}, {"conns/close?id=", ""},
		{"conns/write?id=%00", "x"}, {"conns/close?id=n1@18446744073709551616/x", ""}, {"nothing", "x"}, {"../self", ""},
	} {
		f.Add(seed[0], seed[1])
	}
	asked := asker(f)
	f.Fuzz(func(t *testing.T, path, body string) { asked(t, "POST", path, body) })
}

// FuzzQuestion: the same for what only asks, whatever stands in the query.
func FuzzQuestion(f *testing.F) {
	for _, r := range questionRoutes() {
		path := strings.TrimPrefix(r.path, "/api/v1/")
		f.Add(path)
		for _, p := range r.params {
			for _, value := range []string{"", "x", "-1", "64", "1ms", "9999999999999h", "n1", "n1/io-0", "%00", "2026-03-01T00:00:00Z", "LM1806,node", "true"} {
				f.Add(path + "?" + p.name + "=" + value)
			}
		}
	}
	asked := asker(f)
	f.Fuzz(func(t *testing.T, path string) {
		if strings.Contains(path, "stream") || strings.Contains(path, "measure=") && strings.Contains(path, "s") {
			return // the one has no end, the other takes as long as it is told to
		}
		asked(t, "GET", path, "")
	})
}

// asker starts a node and its API, which the function that it returns asks.
func asker(f *testing.F) func(t *testing.T, method, path, body string) {
	n, err := cluster.Start(testCtx(f), cluster.Config{Name: "n1", CallTimeout: time.Second, Logger: hclog.NewNullLogger()})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(n.Close)
	s, err := Open(n, hclog.NewNullLogger())
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(s.Close)
	h := s.handler()
	return func(t *testing.T, method, path, body string) {
		t.Helper()
		u, err := url.Parse("/api/v1/" + path)
		if err != nil {
			return // no client can ask this
		}
		r := httptest.NewRequest(method, "/", strings.NewReader(body))
		r.URL = u
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code >= 300 && w.Code < 400 { // the path was not in its shortest form
			return
		}
		var answer struct {
			Kind  string
			Error *struct{ Kind string }
		}
		if strings.HasSuffix(u.Path, ".json") { // the description of the API is no document of it
			return
		}
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.Kind == "" {
			t.Fatalf("%q %q: %d %q, %v", path, body, w.Code, w.Body, err)
		}
		if w.Code >= 400 && (answer.Error == nil || answer.Error.Kind == "") {
			t.Fatalf("%q %q: %d %q has no kind", path, body, w.Code, w.Body)
		}
		if len(n.Members()) != 1 {
			t.Fatal("the node is gone")
		}
	}
}

// FuzzTold: what a node sends as events, which may be another version or somebody else, is
// handed on, left out, or an error.
func FuzzTold(f *testing.F) {
	for _, seed := range [][2]string{
		{"event", `{"kind":"Event","code":"LM1806","time":"2026-03-01T00:00:00Z"}`}, {"partial", `[{"id":"n1","why":"silent"}]`}, {"partial", `{}`}, {"event", `[]`}, {"event", ``}, {"other", `{`}, {"", ""}, {"event", "null"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, name, data string) {
		calls := 0
		err := told(name, data, func(Event) error { calls++; return nil }, func([]Missing) error { calls++; return nil })
		known := name == "event" || name == "partial"
		if calls > 1 || known == (calls == 0 && err == nil) || err != nil && calls > 0 {
			t.Errorf("%q %q is told %d times, %v", name, data, calls, err)
		}
	})
}
