package placement

import (
	"strings"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/cluster/internal/records"
)

// FuzzWant: a record that is read is of its subject, can be planned, and what follows a
// failure can be written and read again, and is bounded.
func FuzzWant(f *testing.F) {
	for _, seed := range []string{
		`{"v":1,"id":{"Kind":"k","Name":"n"},"state":"wanted","most":5,"within":60000000000,"changed":"2026-03-01T00:00:00Z"}`,
		`{"v":1,"id":{"Kind":"k","Name":"n"},"state":"wanted","most":-1,"within":-1,"failures":["9999-12-31T23:59:59-23:59","0001-01-01T00:00:00Z"]}`,
		`{"v":1,"id":{"Kind":"k","Name":"n"},"state":"wanted","most":9223372036854775807,"within":9223372036854775807,"on":"n1@7","error":"x"}`,
		`{"v":1,"id":{"Kind":"k","Name":"n"},"state":"other"}`, `{"v":1,"id":{"Kind":"k","Name":"n"},"state":"dropped"}`, `{"v":1,"id":{"Kind":"","Name":"n"}}`, `{"v":1,"id":{"Kind":"a/b","Name":"n"}}`, `{"v":2}`, `{`, `null`,
	} {
		f.Add([]byte(seed), "k", "n")
	}
	f.Fuzz(func(t *testing.T, body []byte, kind, name string) {
		subject := (id{kind, name}).subject()
		w, ok := readWant(records.Record{Subject: subject, Seq: 7, Body: body})
		if !ok {
			return
		}
		if w.ID != (id{kind, name}) || w.ID.check() != nil || w.seq != 7 {
			t.Fatalf("%q, %q is %+v", kind, name, w)
		}
		now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		orders := plan(now, map[id]want{w.ID: w}, []host{{node: "n1@1", kinds: []string{kind}}, {node: "n2@1", kinds: []string{"other"}}})
		if len(orders) > 1 || len(orders) == 1 && (orders[0].node != "n1@1" || w.State != Wanted) {
			t.Errorf("%+v is planned as %+v", w, orders)
		}
		next := w.failed(now, "n1@1", strings.Repeat("é", 400))
		again, ok := readWant(records.Record{Subject: subject, Seq: 8, Body: next.encode()})
		if !ok || len(again.Failures) > len(w.Failures)+1 || len(again.Error) > maxError+8 || again.State != next.State {
			t.Errorf("%+v became %+v, %v", next, again, ok)
		}
	})
}
