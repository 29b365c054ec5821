package admin

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
)

// What goes between nodes. A node tells of what it sends; nobody counts what comes in
// by its sender, so each edge is told once, by its beginning. Questions of this API are
// left out: looking does not show itself.

// Why counters and not rates: a rate needs somebody who decides over which time, and keeps
// what was before. Whoever draws a line between two nodes asks twice and subtracts; a
// counter that has become smaller belongs to another life of its node, or of a flow that
// was forgotten after a minute of silence, and is a new beginning.
//
// Why calls under way are told by who waits: that node knows since when, until when, and
// on which of its loops. The one that was called may be the one that does not answer.
//
// Traffic is what one loop, or one node, has sent to one target of another node. Its
// counters only grow, and begin anew when the node does; those of Messages also when
// nothing was sent for a minute. From is NODE/LOOP for calls made by tasks, and NODE for
// those made elsewhere and for messages.
type Traffic struct {
	// From>To.
	ID   string `json:"id"`
	Node string `json:"node"`
	From string `json:"from"`
	// Node/loop, or the address of an actor.
	To     string `json:"to"`
	Calls  uint64 `json:"calls"`
	Failed uint64 `json:"failed"`
	// How long callers have waited for the calls that have ended, all together.
	WaitedUS int64 `json:"waited_us"`
	// Calls without an answer, and messages to actors.
	Messages uint64 `json:"messages"`
	// Of these: sent and not taken by the target yet.
	UnderWay int `json:"under_way"`
	// Not sent yet, because the target takes no more.
	Held int `json:"held"`
}

// CallUnderWay is a call that waits for its answer.
type CallUnderWay struct {
	// NODE/calls/NUMBER.
	ID       string `json:"id"`
	Node     string `json:"node"`
	From     string `json:"from"`
	To       string `json:"to"`
	Function string `json:"function"`
	ForUS    int64  `json:"for_us"`
	// Until its deadline.
	LeftUS int64 `json:"left_us"`
}

// One question brings both lists, since the map asks for both each second. Each is bounded
// like every list; how many there are is told beside it, so that a cut is seen.
//
// trafficReport is what a node tells.
type trafficReport struct {
	Traffic []Traffic      `json:"traffic"`
	Calls   []CallUnderWay `json:"calls"`
	// How many there are of each.
	AllTraffic int `json:"all_traffic"`
	AllCalls   int `json:"all_calls"`
}

// askTraffic tells what a node sends; it is called on the loop LoopName.
var askTraffic = cluster.Func(internalPrefix+"traffic", func(ctx context.Context, _ struct{}) (trafficReport, error) {
	node, ok := cluster.NodeOf(ctx)
	if !ok {
		return trafficReport{}, cluster.ErrNoNode
	}
	parts, now := node.Inside(inside.Key{}), time.Now()
	from := func(loop string) string {
		if loop == "" {
			return node.Name()
		}
		return node.Name() + "/" + loop
	}
	r := trafficReport{Traffic: []Traffic{}, Calls: []CallUnderWay{}}
	for _, t := range parts.Traffic() {
		r.Traffic = append(r.Traffic, Traffic{From: from(t.From), To: t.To, Calls: t.Calls, Failed: t.Failed, WaitedUS: t.Took.Microseconds()})
	}
	for _, s := range parts.Sent() {
		r.Traffic = append(r.Traffic, Traffic{From: node.Name(), To: s.To, Messages: s.Messages, UnderWay: s.UnderWay, Held: s.Wait})
	}
	r.AllTraffic = len(r.Traffic)
	r.Traffic = merged(node.Name(), r.Traffic[:min(len(r.Traffic), maxListed)])
	calls, all := parts.UnderWay(maxListed)
	for _, c := range calls {
		r.Calls = append(r.Calls, CallUnderWay{
			ID: node.Name() + "/calls/" + strconv.FormatUint(c.ID, 10), Node: node.Name(), From: from(c.From), To: c.To, Function: c.Function,
			ForUS: now.Sub(c.Begun).Microseconds(), LeftUS: max(c.Deadline.Sub(now).Microseconds(), 0),
		})
	}
	r.AllCalls = all
	return r, nil
})

// Two tables tell of what one node sends: calls are counted by the loop of their caller,
// messages by flow, and a flow belongs to the node. Calls of goroutines that belong to no
// loop are counted for the node, too, so both tables can have the same pair.
//
// merged gives each pair one item: calls of goroutines and messages have the same ends.
func merged(node string, all []Traffic) []Traffic {
	out, at := []Traffic{}, map[string]int{}
	for _, t := range all {
		t.ID, t.Node = t.From+">"+t.To, node
		i, known := at[t.ID]
		if !known {
			at[t.ID] = len(out)
			out = append(out, t)
			continue
		}
		o := &out[i]
		o.Calls, o.Failed, o.WaitedUS = o.Calls+t.Calls, o.Failed+t.Failed, o.WaitedUS+t.WaitedUS
		o.Messages, o.UnderWay, o.Held = o.Messages+t.Messages, o.UnderWay+t.UnderWay, o.Held+t.Held
	}
	return out
}

// A node that does not answer is named, like in every list: a line that is missing on the
// map then means "not known" and not "nothing is sent".
//
// onNodes lists what each node tells of itself in its trafficReport.
func onNodes[T any](ctx context.Context, s *Server, kind string, pick func(trafficReport) (items []T, all int)) (any, error) {
	list, members := newList[T](kind), s.node.Members()
	answers, errs := make([]trafficReport, len(members)), make([]error, len(members))
	inParallel(len(members), func(i int) {
		answers[i], _, errs[i] = ask(ctx, s, askTraffic, members[i].Name+"/"+LoopName, struct{}{})
	})
	for i, m := range members {
		if errs[i] != nil {
			list.missing(m.Name, errs[i])
			continue
		}
		items, all := pick(answers[i])
		if more := all - maxListed; more > 0 {
			list.missing(m.Name, &Error{Kind: Refused, Message: fmt.Sprintf("%d more, a node lists %d", more, maxListed), Hint: "ask the program"})
		}
		list.Items = append(list.Items, items...)
	}
	return list, nil
}

// trafficList is the route of who sends what to whom.
func (s *Server) trafficList(ctx context.Context, _ *http.Request) (any, error) {
	return onNodes(ctx, s, "TrafficList", func(r trafficReport) ([]Traffic, int) { return r.Traffic, r.AllTraffic })
}

// callList is the route of the calls that wait for their answers.
func (s *Server) callList(ctx context.Context, _ *http.Request) (any, error) {
	return onNodes(ctx, s, "CallUnderWayList", func(r trafficReport) ([]CallUnderWay, int) { return r.Calls, r.AllCalls })
}
