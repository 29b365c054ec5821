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
	f.Fuzz(func(t *testing.T, path, body string) {
		u, err := url.Parse("/api/v1/" + path)
		if err != nil {
			return // no client can ask this
		}
		r := httptest.NewRequest("POST", "/", strings.NewReader(body))
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
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || answer.Kind == "" {
			t.Fatalf("%q %q: %d %q, %v", path, body, w.Code, w.Body, err)
		}
		if w.Code >= 400 && (answer.Error == nil || answer.Error.Kind == "") {
			t.Fatalf("%q %q: %d %q has no kind", path, body, w.Code, w.Body)
		}
		if len(n.Members()) != 1 {
			t.Fatal("the node is gone")
		}
	})
}
