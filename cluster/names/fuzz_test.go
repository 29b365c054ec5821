package names

import (
	"errors"
	"testing"

	"github.com/loopmesh/loopmesh/cluster/internal/records"
)

// FuzzRecord: what stands in the store for a name or a lease is read or refused: an owner has
// a node and a life, what cannot be read counts as free, and a token is never 0.
func FuzzRecord(f *testing.F) {
	for _, seed := range []string{
		`{"v":1,"name":"shop","node":"n1","life":7,"term":2,"loop":"n1/io-0","at":"2026-03-01T00:00:00Z"}`, `{"v":1,"name":"shop","free":true}`, `{"v":1,"node":"n1"}`, `{"v":1,"life":7}`,
		`{"v":2,"node":"n1","life":7}`, `{"v":1,"life":-1,"node":"n1"}`, `{"v":1,"life":18446744073709551616}`, `{"v":1,"node":"n1","life":1,"token":18446744073709551615,"looks":-1}`, `{"v":1,"life":7,"term":1}`, `{`, `null`, `[]`, ``,
	} {
		f.Add([]byte(seed), uint64(9), false)
		f.Add([]byte(seed), uint64(9), true)
	}
	f.Fuzz(func(t *testing.T, body []byte, seq uint64, gone bool) {
		if seq == 0 {
			return // the store counts from 1
		}
		r := records.Record{Subject: ownSubject("shop"), Body: body, Seq: seq, Gone: gone}
		o, err := readOwnership(r)
		if err != nil && (!errors.Is(err, errGarbage) || !o.Free) || gone && !o.Free {
			t.Errorf("%+v, %v", o, err)
		}
		if err == nil && !o.Free && (o.Node == "" || o.Life == 0 || o.token(seq) == 0) {
			t.Errorf("an owner that is none: %+v", o)
		}
		if again, bad := readOwnership(records.Record{Subject: r.Subject, Body: encode(o), Seq: seq}); err == nil && o.Version == version && (bad != nil || again.token(seq) != o.token(seq) || again.Node != o.Node) {
			t.Errorf("%+v became %+v, %v", o, again, bad)
		}
		if l := readLease(r); gone && l != (livelihood{}) || l.Version != version && l != (livelihood{}) {
			t.Errorf("a lease: %+v", l)
		}
	})
}
