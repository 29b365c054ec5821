package admin

import (
	"fmt"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/traces"
)

// A node that knows no traces would not understand a call that is traced, so nothing is
// called; of one that is silent only the part is missing.
func TestTraceRefusesOlderNodes(t *testing.T) {
	for _, c := range []struct {
		full bool
		err  error
		code string
	}{
		{true, nil, codeBusy}, {false, fmt.Errorf("n2: %w", cluster.ErrUnknownFunction), codeNoTraces}, {false, cluster.ErrRefused, codeNoRight}, {false, cluster.ErrNodeDown, ""}, {false, nil, ""},
	} {
		err := traceRefused("n2", c.full, c.err)
		if (err == nil) != (c.code == "") || err != nil && asError(err).Code != c.code {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// The two ends of a call are one step, and each duration is by the clock of one node: those of
// n2 are an hour ahead here.
func TestStepsOfATrace(t *testing.T) {
	at, ahead := time.Unix(1000, 0), time.Unix(1000+3600, 0)
	ms := func(n int) int64 { return int64(n) * int64(time.Millisecond) }
	all := []traces.Span{
		{ID: "c1", Called: true, Name: "a", Node: "n1", Target: "n2/io-0", Begun: at, TookNS: ms(20)},
		{ID: "r1", Parent: "c1", Name: "a", Node: "n2", Target: "n2/io-0", Begun: ahead.Add(3 * time.Millisecond), QueueNS: ms(2), TookNS: ms(12)},
		{ID: "c2", Parent: "r1", Called: true, Name: "b", Node: "n2", Target: "n3/io-0", Begun: ahead.Add(4 * time.Millisecond), TookNS: ms(5), Error: "too late"},
		{ID: "r3", Parent: "gone", Name: "later", Node: "n3", Target: "n3/io-0", Begun: ahead, TookNS: ms(1), Open: true},
	}
	got := map[string]Span{}
	for _, s := range joined(all) {
		got[s.Function] = s
	}
	if a := got["a"]; len(got) != 3 || a.TookUS != 20000 || *a.QueueUS != 2000 || *a.RunUS != 12000 || *a.NetworkUS != 6000 || a.AfterUS != 5000 || a.Parent != "" || a.From != "n1" {
		t.Errorf("%+v", got)
	}
	if b := got["b"]; b.Parent != "c1" || b.NetworkUS != nil || b.RunUS != nil || b.Error != "too late" || b.AfterUS != 1000 || b.To != "n3/io-0" {
		t.Errorf("%+v", b)
	}
	if l := got["later"]; l.From != "" || l.Parent != "" || !l.Open || *l.RunUS != 1000 {
		t.Errorf("%+v", l)
	}
}
