package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
	"github.com/loopmesh/loopmesh/cluster/internal/registry"
	"github.com/loopmesh/loopmesh/cluster/internal/traces"
)

// Where does the time of a call go? A trace answers it for one call that is made for the
// purpose, or for the calls of one function during some seconds: all nodes are told to keep
// the spans of it, and asked for them at the end. Nothing is kept before and afterwards.
//
// It takes the right "admin" on every node: names of functions, and the errors they end in,
// are told to who runs the program.
//
// A node of an older version neither records nor understands a call that is recorded: such a
// call would fail there. So a cluster with one of those is not traced (LM3182). A node that
// does not answer is named, and its part of the tree is missing.

// TraceRequest asks for a trace: of one call of Function on the loop On, which is made for it,
// or, without On, of the calls of Function that others make within ForMS.
type TraceRequest struct {
	Function string          `json:"function"`
	On       string          `json:"on,omitempty"`
	Payload  json.RawMessage `json:"payload,omitempty"`
	ForMS    int64           `json:"for_ms,omitempty"`
}

// Trace is what was recorded.
type Trace struct {
	Kind       string `json:"kind"`
	APIVersion string `json:"apiVersion"`
	Function   string `json:"function"`
	// In the order of their beginnings, by the clocks of their nodes.
	Spans []Span `json:"spans"`
	// Nodes that did not answer: what they did is missing.
	Partial []Missing `json:"partial,omitempty"`
	// Spans for which a node had no room.
	Dropped int `json:"dropped,omitempty"`
	// Of a call that was made for it: what it returned, or how it failed.
	Result json.RawMessage `json:"result,omitempty"`
	Error  *Error          `json:"error,omitempty"`
}

// Span is one step: a function that runs because of a call, as both ends saw it. Durations
// are by the clock of one node each, so they are true whatever the clocks of two nodes say.
type Span struct {
	ID string `json:"id"`
	// The span of the function that called it; "" at the top.
	Parent   string `json:"parent,omitempty"`
	Function string `json:"function"`
	// The node that called; "" for what was not called but due, or when that node does not tell.
	From string `json:"from,omitempty"`
	// Node/loop.
	To    string    `json:"to"`
	Begun time.Time `json:"begun"`
	// From the beginning of the call to its result, for its caller; of what nobody waits for, as the function ran.
	TookUS int64 `json:"took_us"`
	// What of it was neither queue nor function: the way there and back. Absent when one end is missing.
	NetworkUS *int64 `json:"network_us,omitempty"`
	// Between its arrival on the node and its beginning: the queue of the loop.
	QueueUS *int64 `json:"queue_us,omitempty"`
	// The function itself, with what it waited for.
	RunUS *int64 `json:"run_us,omitempty"`
	// How long after its caller began it began to run, as far as that can be told from the clock of one node.
	AfterUS int64 `json:"after_us"`
	// It has not ended.
	Open  bool   `json:"open,omitempty"`
	Error string `json:"error,omitempty"`
}

// Why a bound of a minute: whoever records holds memory on every node, and a person who waits
// longer has gone for coffee. Why a linger: the fetch comes behind the end of the recording,
// and its question may have to wait for a busy node.
//
// Times of a trace.
const (
	maxTraced   = time.Minute
	traceLinger = 10 * time.Second // until a recording that nobody fetches goes by itself
)

// traceOrder is what the functions below take.
type traceOrder struct {
	Name     string `json:"name"`
	Function string `json:"function"` // "": only what is called by who asks
	ForMS    int64  `json:"for_ms"`
}

// tracesOf are the traces of the node in ctx.
func tracesOf(ctx context.Context) (*traces.Tracer, error) {
	node, ok := cluster.NodeOf(ctx)
	if !ok {
		return nil, cluster.ErrNoNode
	}
	return node.Inside(inside.Key{}).Traces, nil
}

// The orders; they run on the loop LoopName. Full is true when as many traces are recorded as
// a node records at a time.
var (
	beginTrace = cluster.Func(registry.OrderPrefix+"trace.begin", func(ctx context.Context, o traceOrder) (full bool, err error) {
		t, err := tracesOf(ctx)
		if err != nil {
			return false, err
		}
		err = t.Begin(o.Name, o.Function, min(time.Duration(o.ForMS)*time.Millisecond, maxTraced)+traceLinger)
		if errors.Is(err, traces.ErrBusy) {
			return true, nil
		}
		return false, err
	})
	takeTrace = cluster.Func(registry.OrderPrefix+"trace.take", func(ctx context.Context, o traceOrder) (traces.Recorded, error) {
		t, err := tracesOf(ctx)
		if err != nil {
			return traces.Recorded{}, err
		}
		return t.Take(o.Name), nil
	})
)

// What is refused here is refused before any node is told to record: an unknown address, the
// functions of this API itself (looking would look at itself), a time that nobody waits for.
//
// traceRoute is the route: begin on all nodes, make the call or wait, take from all nodes.
func (s *Server) traceRoute(ctx context.Context, r *http.Request) (any, error) {
	var q TraceRequest
	body, err := readBody(r)
	if err == nil {
		err = json.Unmarshal(body, &q)
	}
	wait := time.Duration(q.ForMS) * time.Millisecond
	switch {
	case err != nil:
		return nil, &Error{Kind: BadRequest, Message: "the request is not one for a trace: " + err.Error(), Hint: `send {"function": NAME, "on": "node/loop", "payload": JSON} or {"function": NAME, "for_ms": 10000}`}
	case q.Function == "" || isInternal(q.Function):
		return nil, &Error{Kind: BadRequest, Message: fmt.Sprintf("%q is no function that can be traced", q.Function), Hint: "'loopmesh func ls' lists them"}
	case q.On == "" && (wait <= 0 || wait > maxTraced):
		return nil, &Error{Kind: BadRequest, Message: fmt.Sprintf("for_ms is %d", q.ForMS), Hint: fmt.Sprintf("give 1 to %d", maxTraced.Milliseconds())}
	}
	return s.trace(ctx, q, wait)
}

// trace makes one. What was begun is taken whatever happens in between, so that a client that
// goes away leaves nothing behind.
func (s *Server) trace(ctx context.Context, q TraceRequest, wait time.Duration) (any, error) {
	out := &Trace{Kind: "Trace", APIVersion: APIVersion, Function: q.Function, Spans: []Span{}}
	o := traceOrder{Name: traces.NewRecording(), Function: q.Function, ForMS: wait.Milliseconds()}
	if q.On != "" {
		if _, err := s.node.Ref(q.On); err != nil {
			return nil, s.advise(ctx, err, q.On)
		}
		o.Function, o.ForMS = "", untilEnd(ctx).Milliseconds()
	}
	nodes, err := s.beginTraces(ctx, o, out)
	if err == nil && q.On != "" {
		s.traceCall(traces.Into(ctx, o.Name), q, out)
	} else if err == nil {
		err = pause(ctx, wait)
	}
	all := s.takeTraces(context.WithoutCancel(ctx), nodes, o, out)
	if err != nil {
		return nil, err
	}
	s.note(Event{Code: codeTraced, Subject: q.Function, Text: fmt.Sprintf("a trace of %s was recorded", q.Function), Count: uint64(len(all))})
	out.Spans = joined(all)
	return out, nil
}

// untilEnd is how long ctx lasts.
func untilEnd(ctx context.Context) time.Duration {
	if at, ok := ctx.Deadline(); ok {
		return time.Until(at)
	}
	return defaultTimeout
}

// The argument and the result pass through this node as in any call by name; neither is kept in
// a span, because a recording is fetched by whoever may look and arguments hold what programs
// keep secret.
//
// traceCall makes the call, with its outcome as a part of the answer: how it failed is what a
// person wants to see in the tree. A part of the time is left for fetching it.
func (s *Server) traceCall(ctx context.Context, q TraceRequest, out *Trace) {
	within, cancel := context.WithTimeout(ctx, untilEnd(ctx)*9/10)
	defer cancel()
	ref, err := s.node.Ref(q.On)
	if err == nil {
		out.Result, err = s.node.CallJSON(within, ref, q.Function, q.Payload)
	}
	if err != nil {
		out.Error = asError(s.advise(ctx, err, q.On))
	}
}

// beginTraces begins on all members, and gives those that have begun. One that does not know
// how ends it, and so does one that records enough already.
func (s *Server) beginTraces(ctx context.Context, o traceOrder, out *Trace) (begun []string, err error) {
	members := s.node.Members()
	errs, full := make([]error, len(members)), make([]bool, len(members))
	inParallel(len(members), func(i int) {
		full[i], _, errs[i] = ask(ctx, s, beginTrace, members[i].Name+"/"+LoopName, o)
	})
	for i, m := range members {
		switch refused := traceRefused(m.Name, full[i], errs[i]); {
		case refused != nil:
			err = cmp.Or(err, refused)
		case errs[i] != nil:
			out.Partial = append(out.Partial, Missing{m.Name, *asError(errs[i])})
		default:
			begun = append(begun, m.Name)
		}
	}
	return begun, err
}

// traceRefused is why there can be no trace, because of what one node has answered; nil when
// only its part will be missing.
func traceRefused(node string, full bool, err error) error {
	switch {
	case full:
		return &Error{Kind: Refused, Code: codeBusy, Message: "node " + node + " records as many traces as it can", Hint: "wait until those have ended: a minute at most"}
	case errors.Is(err, cluster.ErrUnknownFunction):
		return &Error{Kind: Refused, Code: codeNoTraces, Message: "node " + node + " is of a version that knows no traces: a call that is traced would fail there", Hint: "trace when all nodes are of this version"}
	case errors.Is(err, cluster.ErrRefused):
		return err
	}
	return nil
}

// A node that has begun and does not answer now has its part of the tree still; it goes with its
// time, and what is shown says that it is missing. The ctx has no end of its own, because the
// one of the request may be over by now: each question has the limit of all questions.
//
// takeTraces fetches what the nodes have.
func (s *Server) takeTraces(ctx context.Context, nodes []string, o traceOrder, out *Trace) (all []traces.Span) {
	answers, errs := make([]traces.Recorded, len(nodes)), make([]error, len(nodes))
	inParallel(len(nodes), func(i int) {
		answers[i], _, errs[i] = ask(ctx, s, takeTrace, nodes[i]+"/"+LoopName, o)
	})
	for i, node := range nodes {
		if errs[i] != nil {
			out.Partial = append(out.Partial, Missing{node, *asError(errs[i])})
		}
		all = append(all, answers[i].Spans...)
		out.Dropped += answers[i].Dropped
	}
	return all
}

// A call and its run are one step for a person. The network is what the caller waited for and
// the other node cannot account for; so nothing compares the clocks of two nodes. AfterUS adds
// half of it to what the caller's clock says, since one way is about half of both.
//
// joined makes steps of the spans of all nodes.
func joined(all []traces.Span) []Span {
	runs, byID := map[string]traces.Span{}, map[string]traces.Span{} // runs by the call that they belong to
	for _, s := range all {
		byID[s.ID] = s
		if !s.Called && s.Parent != "" {
			runs[s.Parent] = s
		}
	}
	out := []Span{}
	for _, s := range all {
		if s.Called {
			run, ran := runs[s.ID]
			out = append(out, step(s, run, ran, byID))
		} else if up := byID[s.Parent]; !up.Called {
			out = append(out, step(traces.Span{}, s, true, byID))
		}
	}
	slices.SortStableFunc(out, func(a, b Span) int { return a.Begun.Compare(b.Begun) })
	return out
}

// What is unknown stays absent, never zero: a call whose function did not answer has no run, and
// a command that was due has no caller. The error is the caller's where there is one, since it
// says what the program saw (too late, no answer), and the function's otherwise.
//
// step joins the two ends of one call, as far as they are there.
func step(call, run traces.Span, ran bool, byID map[string]traces.Span) Span {
	first := call
	if call.ID == "" {
		first = run
	}
	out := Span{ID: first.ID, Function: first.Name, From: call.Node, To: first.Target, Begun: first.Begun.UTC(), TookUS: first.TookNS / 1000, Open: first.Open, Error: first.Error}
	if up, ok := byID[first.Parent]; ok {
		out.Parent = up.ID
		if call := byID[up.Parent]; call.Called { // the step that this one is below
			out.Parent = call.ID
		}
		if up.Node == first.Node {
			out.AfterUS = max(first.Begun.Sub(up.Begun).Microseconds(), 0)
		}
	}
	if !ran {
		return out
	}
	queue, took := run.QueueNS/1000, run.TookNS/1000
	out.To, out.QueueUS, out.RunUS = run.Target, &queue, &took
	if call.ID != "" && !call.Open && !run.Open {
		network := max((call.TookNS-run.TookNS-run.QueueNS)/1000, 0)
		out.NetworkUS = &network
		out.AfterUS += network/2 + queue
	}
	out.Error = cmp.Or(out.Error, run.Error)
	return out
}

// Trace makes a trace.
func (c *Client) Trace(ctx context.Context, q TraceRequest) (*Trace, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, &Error{Kind: BadRequest, Message: err.Error()}
	}
	return send[Trace](ctx, c, http.MethodPost, "trace", nil, body)
}
