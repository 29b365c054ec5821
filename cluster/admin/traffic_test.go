package admin

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/loopnode"
)

// until ends when ctx does; half fails.
var (
	until = cluster.Func("test.until", func(ctx context.Context, _ struct{}) (int, error) { return 0, loopnode.Sleep(ctx, time.Hour) })
	half  = cluster.Func("test.half", func(_ context.Context, fail bool) (int, error) {
		if fail {
			return 0, context.Canceled
		}
		return 1, nil
	})
)

// answered decodes a list that s gives.
func answered[T any](t *testing.T, s *Server, path string) *List[T] {
	t.Helper()
	w := httptest.NewRecorder()
	s.handler().ServeHTTP(w, httptest.NewRequest("GET", "/api/v1/"+path, nil))
	list := new(List[T])
	if err := json.Unmarshal(w.Body.Bytes(), list); err != nil || w.Code != 200 || len(list.Partial) > 0 {
		t.Fatalf("%s: %d %s %v", path, w.Code, w.Body, err)
	}
	return list
}

func TestCallsBetweenNodesAreTold(t *testing.T) {
	s, other := pair(t)
	if _, err := Open(other, hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	if _, err := other.NewLoop("io"); err != nil {
		t.Fatal(err)
	}
	from, err := s.node.NewLoop("from")
	if err != nil {
		t.Fatal(err)
	}
	to, err := s.node.Ref("n2/io")
	if err != nil {
		t.Fatal(err)
	}
	loop, _ := from.Local()
	if _, err := loopnode.RunCoroutineThreadsafe(loop.Ref(), "calls", func(ctx context.Context) (int, error) {
		for i := range 5 {
			_, _ = half.Via(s.node).Call(ctx, to, i > 2)
		}
		return 0, nil
	}).Wait(testCtx(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := half.Via(s.node).Call(testCtx(t), to, false); err != nil {
		t.Fatal(err)
	}
	if err := half.Via(s.node).CallSoon(testCtx(t), to, false); err != nil {
		t.Fatal(err)
	}
	got := map[string]Traffic{}
	for _, e := range answered[Traffic](t, s, "traffic").Items {
		got[e.ID] = e
	}
	if e := got["n1/from>n2/io"]; e.Calls != 5 || e.Failed != 2 || e.Messages != 0 || e.WaitedUS <= 0 || e.Node != "n1" {
		t.Errorf("%+v", got)
	}
	if e := got["n1>n2/io"]; e.Calls != 1 || e.Failed != 0 || e.Messages != 1 || len(got) != 2 {
		t.Errorf("%+v", got)
	}

	waiting := loopnode.RunCoroutineThreadsafe(loop.Ref(), "waits", func(ctx context.Context) (int, error) {
		return until.Via(s.node).Call(ctx, to, struct{}{})
	})
	for {
		list := answered[CallUnderWay](t, s, "calls")
		if len(list.Items) == 0 {
			continue
		}
		c := list.Items[0]
		if len(list.Items) != 1 || c.From != "n1/from" || c.To != "n2/io" || c.Function != "test.until" || c.ForUS < 0 || c.LeftUS <= 0 || c.Node != "n1" {
			t.Errorf("%+v", list.Items)
		}
		break
	}
	_ = waiting.Cancel()
}
