package admin

import (
	"context"
	"net/http"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/durable"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
)

// What an operator's check needs to know of each node and of the store, as facts. Nothing
// here decides what is bad: a limit belongs to who is woken by it, so "loopmesh check" has
// the limits, as flags, and another program that reads this API has its own.
//
// How is a clock compared? The node that is asked reads its own clock before the question
// and after the answer; the other's was read in between. If that one's time is not between
// the two, the clocks differ by at least the distance, and ClockWithinUS bounds the error
// of the guess that it was read in the middle.

// Health is how a node is, beside its loops.
type Health struct {
	ID      string `json:"id"`
	Version string `json:"version"`
	Go      string `json:"go"`
	// Its clock, compared with that of the node that was asked; and by how much this may
	// be wrong either way.
	ClockAheadUS  int64 `json:"clock_ahead_us"`
	ClockWithinUS int64 `json:"clock_within_us"`
	// It has its connection to NATS.
	Connected bool `json:"connected"`
	// How many voters the cluster has, 0 where nobody knows, and those that its server is
	// connected to, that server included.
	Voters          int      `json:"voters"`
	VotersConnected []string `json:"voters_connected"`
	// Until when its keys and its certificate are accepted; absent without keys.
	KeysExpire        time.Time `json:"keys_expire,omitzero"`
	CertificateExpire time.Time `json:"certificate_expires,omitzero"`
	// Open descriptors of its process and how many may be; 0 where the system does not tell.
	Descriptors     int `json:"descriptors"`
	DescriptorsMost int `json:"descriptors_most"`
	// The folder of its NATS server, what may be written to that disk, and that nothing is
	// written, because it was full.
	Store          string `json:"store,omitempty"`
	StoreFreeBytes uint64 `json:"store_free_bytes"`
	StoreStopped   bool   `json:"store_stopped"`
	// The calls for later that are dead, in the groups that it owns.
	DeadTimers int `json:"dead_timers"`
}

// Who is connected to NATS? The node that is asked knows it of itself; the others could not
// answer without it, so of them it is true whenever it is there. The field is kept for all, so
// that a reader has one rule.
// healthReport is what a node tells: its health, and its clock while it told.
type healthReport struct {
	Health Health    `json:"health"`
	Now    time.Time `json:"now"`
}

// It reads numbers that the node has anyway, the limit of descriptors and the room on one disk:
// some microseconds, and nothing on other loops.
// askHealth tells how a node is; it is called on the loop LoopName.
var askHealth = cluster.Func(internalPrefix+"health", func(ctx context.Context, _ struct{}) (healthReport, error) {
	node, ok := cluster.NodeOf(ctx)
	if !ok {
		return healthReport{}, cluster.ErrNoNode
	}
	of := node.Inside(inside.Key{}).Health()
	stats := node.Stats()
	h := Health{
		ID: node.Name(), Connected: stats.Disconnects <= stats.Reconnects, Voters: of.Voters, VotersConnected: append([]string{}, of.Connected...),
		KeysExpire: of.Keys.UTC(), CertificateExpire: of.Certificate.UTC(), Store: of.Store, StoreFreeBytes: of.Free, StoreStopped: of.Stopped,
		DeadTimers: durable.DeadTimers(node),
	}
	h.Version, h.Go = Version()
	h.Descriptors, h.DescriptorsMost = descriptors()
	return healthReport{h, time.Now()}, nil
})

// clockOf compares the clock of a node that told now, in an answer to a question that was
// put at begun and took so long.
func clockOf(now, begun time.Time, took time.Duration) (ahead, within time.Duration) {
	return now.Round(0).Sub(begun.Round(0).Add(took / 2)), took / 2
}

// Every node is asked at the same time, and each answer is compared with the clock of the one
// that gathers: differences between two others are differences of their two numbers.
// healthList is the route of how the nodes are.
func (s *Server) healthList(ctx context.Context, _ *http.Request) (any, error) {
	list, members := newList[Health]("HealthList"), s.node.Members()
	answers, errs := make([]healthReport, len(members)), make([]error, len(members))
	inParallel(len(members), func(i int) {
		begun := time.Now()
		answers[i], _, errs[i] = ask(ctx, s, askHealth, members[i].Name+"/"+LoopName, struct{}{})
		ahead, within := clockOf(answers[i].Now, begun, time.Since(begun)) // not what ask took: it begins later than begun
		answers[i].Health.ClockAheadUS, answers[i].Health.ClockWithinUS = ahead.Microseconds(), within.Microseconds()
	})
	for i, m := range members {
		if errs[i] != nil {
			list.missing(m.Name, errs[i])
			continue
		}
		list.Items = append(list.Items, answers[i].Health)
	}
	return list, nil
}
