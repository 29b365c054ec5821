package admin

import (
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/loopmesh/loopmesh/cluster/internal/inside"
	"github.com/loopmesh/loopmesh/cluster/internal/records"
)

func TestHealthOfEachNode(t *testing.T) {
	s, other := pair(t)
	list, code := request[List[Health]](t, s, "GET", "/api/v1/health")
	if code != 200 || len(list.Items) != 1 || len(list.Partial) != 1 || list.Partial[0].ID != "n2" {
		t.Fatalf("a node without the API is not named: %d %+v", code, list)
	}
	if _, err := Open(other, hclog.NewNullLogger()); err != nil {
		t.Fatal(err)
	}
	list, _ = request[List[Health]](t, s, "GET", "/api/v1/health")
	if len(list.Items) != 2 || len(list.Partial) != 0 {
		t.Fatalf("%+v", list)
	}
	for i, h := range list.Items {
		if h.ID != []string{"n1", "n2"}[i] || !h.Connected || h.Version == "" || h.Go == "" || h.Store != "" || !h.KeysExpire.IsZero() || h.Voters != 0 {
			t.Errorf("%+v", h)
		}
		if off := max(h.ClockAheadUS, -h.ClockAheadUS); off > h.ClockWithinUS+1000 {
			t.Errorf("one clock differs from itself by %d us, within %d", off, h.ClockWithinUS)
		}
	}
}

func TestHealthOfAStore(t *testing.T) {
	s := stored(t)
	list, _ := request[List[Health]](t, s, "GET", "/api/v1/health")
	if len(list.Items) != 1 || list.Items[0].Store == "" || list.Items[0].StoreFreeBytes == 0 || list.Items[0].StoreStopped {
		t.Errorf("%+v", list)
	}
}

// Whether a clock is ahead or behind, and how sure that is.
func TestClocksAreCompared(t *testing.T) {
	begun := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct{ now, took, ahead, within time.Duration }{
		{time.Second, 2 * time.Second, 0, time.Second},
		{5 * time.Second, 2 * time.Second, 4 * time.Second, time.Second},
		{-3 * time.Second, 0, -3 * time.Second, 0},
	} {
		if ahead, within := clockOf(begun.Add(c.now), begun, c.took); ahead != c.ahead || within != c.within {
			t.Errorf("%+v: %v within %v", c, ahead, within)
		}
	}
}

func TestStreams(t *testing.T) {
	t.Run("without a store there are none, and that is said", func(t *testing.T) {
		s, _ := pair(t)
		if _, code := request[List[Stream]](t, s, "GET", "/api/v1/streams"); code != statuses[Refused] {
			t.Errorf("%d", code)
		}
	})
	t.Run("a server that is alone leads", func(t *testing.T) {
		s := stored(t)
		parts := s.node.Inside(inside.Key{})
		records.Of(parts).Make(testCtx(t))
		records.WorkOf(parts).Make(testCtx(t))
		list, code := request[List[Stream]](t, s, "GET", "/api/v1/streams")
		if code != 200 || len(list.Items) != 2 {
			t.Fatalf("%d %+v", code, list)
		}
		for _, d := range list.Items {
			if d.Leader == "" || d.Copies != 1 || len(d.Followers) != 0 {
				t.Errorf("%+v", d)
			}
		}
	})
	t.Run("a stream without a leader has none", func(t *testing.T) {
		info := &jetstream.StreamInfo{Config: jetstream.StreamConfig{Name: "x", Replicas: 3}, Cluster: &jetstream.ClusterInfo{Name: "c", Replicas: []*jetstream.PeerInfo{
			{Name: "n2", Current: true, Active: time.Second}, {Name: "n3", Offline: true, Lag: 7},
		}}}
		d := streamItem(info)
		if d.Leader != "" || d.Copies != 3 || len(d.Followers) != 2 || d.Followers[0] != (Follower{Server: "n2", Current: true, SilentUS: 1e6}) || d.Followers[1] != (Follower{Server: "n3", Offline: true, Lag: 7}) {
			t.Errorf("%+v", d)
		}
	})
}
