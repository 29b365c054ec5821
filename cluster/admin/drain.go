package admin

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/drain"
	"github.com/loopmesh/loopmesh/cluster/internal/registry"
)

// A drain over the API. The order begins it and answers at once; the question tells how far
// it is. Both run on the admin loop of the node that leaves, which serves them while the
// node takes no other call. When the node has left, nobody answers any more: who follows a
// drain looks at the members then.

// Drain is how far the drain of a node is.
type Drain struct {
	Kind       string `json:"kind"`
	APIVersion string `json:"apiVersion"`
	ID         string `json:"id"` // of the node
	// That have begun, in order. None: no drain has begun.
	Steps []DrainStep `json:"steps"`
}

// DrainStep is one step of a drain.
type DrainStep struct {
	// notice, placement, connections, commands, calls or leave.
	ID   string `json:"id"`
	Done bool   `json:"done"`
	// What it waits for; of a step that is done: what was cut off at its limit.
	Waits  []string `json:"waits"`
	TookUS int64    `json:"took_us"`
}

// Who may order it? It is an order like all that end something: another node needs the right
// admin. Ordering it twice does no harm, the second order follows the first drain and its
// limit counts for nothing.

// Bounds of a drain that an operator orders.
const (
	usualDrain = time.Minute
	mostDrain  = time.Hour
	lastLook   = 300 * time.Millisecond // for who follows it, before the node is gone
)

// What of a drain can be undone? Nothing that it does: groups have been left, singletons run on
// other nodes, servers are closed and clients were told to go. So there is a time before its
// first step, the notice, in which the node only says that it is not ready (/readyz, "draining"
// in lists), so that whoever sends it work stops. Until its end the order can be taken back, and
// then the node is as if it had never been given; afterwards that is refused.
//
// notice is that time. Any goroutine.
//
// Invariant: begun is set once, by whoever begins the first step, and the timer is stopped then.
type notice struct {
	mu    sync.Mutex
	timer *time.Timer // nil: no drain is ordered, or it has begun
	since time.Time
	until time.Time
	begun bool
}

// Two orders may meet, of two people who do not know of each other. The first one decides when:
// a second one with a notice follows it, and one without a notice ends the notice of the first.
// Nobody gets less time than the last one who spoke has given.
//
// order has drain called when d is over. An order that finds another one follows it, unless it
// wants it at once.
func (n *notice) order(d time.Duration, drain func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.begun, n.timer != nil && d > 0:
		return
	case n.timer != nil:
		n.timer.Stop()
	}
	n.since = time.Now()
	n.until = n.since.Add(d)
	if d == 0 {
		n.begun = true
	}
	var mine *time.Timer
	mine = time.AfterFunc(d, func() {
		n.mu.Lock()
		goes := n.timer == mine // else it was taken back while it fired
		n.begun = n.begun || goes
		n.mu.Unlock()
		if goes {
			drain()
		}
	})
	n.timer = mine // the lock is held, so it is set before the function looks
}

// begin is the end of the notice: the first step of a drain follows.
func (n *notice) begin() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.begun = true
	n.stopLocked()
}

// A timer that fires at the moment in which the order is taken back finds that it is not the
// timer of the notice any more, and does nothing; so takeBack and the first step exclude each
// other, and what takeBack says is what happens.
//
// takeBack ends a notice without a drain; begun says that it is too late.
func (n *notice) takeBack() (was, begun bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	was = n.timer != nil
	if !n.begun {
		n.stopLocked()
	}
	return was, n.begun
}

func (n *notice) stopLocked() {
	if n.timer != nil {
		n.timer.Stop()
		n.timer = nil
	}
}

// step is the notice as a step of the drain; false while none is ordered.
func (n *notice) step() (DrainStep, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := DrainStep{ID: "notice", Done: n.begun, Waits: []string{}}
	if !n.begun {
		d.Waits = append(d.Waits, "its notice, which ends at "+n.until.UTC().Format(time.RFC3339))
	}
	if d.TookUS = min(time.Since(n.since), n.until.Sub(n.since)).Microseconds(); n.since.IsZero() {
		d.TookUS = 0
	}
	return d, n.until.After(n.since) && (n.timer != nil || n.begun)
}

// leaving reports whether a drain is ordered, or runs.
func (n *notice) leaving() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.timer != nil || n.begun
}

// drainOrder says how long what runs may take, and how long the drain can be taken back.
type drainOrder struct {
	LimitMS  int64 `json:"limit_ms"`
	NoticeMS int64 `json:"notice_ms"`
}

var (
	beginDrain = cluster.Func(registry.OrderPrefix+"drain", func(ctx context.Context, o drainOrder) (struct{}, error) {
		node, ok := cluster.NodeOf(ctx)
		if !ok {
			return struct{}{}, cluster.ErrNoNode
		}
		s, _ := servers.Load(node)
		limit := min(max(time.Duration(o.LimitMS)*time.Millisecond, 0), mostDrain)
		before := min(max(time.Duration(o.NoticeMS)*time.Millisecond, 0), mostDrain)
		if before > 0 && !s.(*Server).notice.leaving() {
			s.(*Server).note(Event{Code: codeDrained, Subject: node.Name(), Text: "drain is ordered, it begins in " + before.String()})
		}
		// On a goroutine of its own, when the notice is over; it ends when the node is drained, at
		// the latest some seconds after limit. Its steps are told as events.
		s.(*Server).notice.order(before, func() { _ = s.(*Server).Drain(limit, func(string) {}) })
		return struct{}{}, nil
	})
	takeBackDrain = cluster.Func(registry.OrderPrefix+"resume", func(ctx context.Context, _ struct{}) (resumed, error) {
		s, _, err := mineOf(ctx)
		if err != nil {
			return resumed{}, err
		}
		was, begun := s.notice.takeBack()
		if was && !begun {
			s.note(Event{Code: CodeResumed, Subject: s.node.Name(), Text: "the order to drain it was taken back"})
		}
		return resumed{was, begun}, nil
	})
	askDrain = cluster.Func(internalPrefix+"drain", func(ctx context.Context, _ struct{}) ([]DrainStep, error) {
		node, ok := cluster.NodeOf(ctx)
		if !ok {
			return nil, cluster.ErrNoNode
		}
		out := []DrainStep{}
		if s, ok := servers.Load(node); ok {
			if step, is := s.(*Server).notice.step(); is {
				out = append(out, step)
			}
		}
		for _, p := range drain.Status(node) {
			out = append(out, DrainStep{ID: string(p.Step), Done: p.Done, Waits: append([]string{}, p.Waits...), TookUS: p.Took.Microseconds()})
		}
		return out, nil
	})
)

// Drain drains the node, see drain.Node: what runs may take as long as limit, in all. say,
// which may not be nil, is told in words what is waited for. Each step that ends is an
// event. It waits until the node is closed; Close of the Server comes after it.
func (s *Server) Drain(limit time.Duration, say func(string)) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	s.notice.begin()
	s.note(Event{Code: codeDrained, Subject: s.node.Name(), Text: "drain begins, limit " + limit.String()})
	opts := []drain.Option{drain.OnProgress(func(p drain.Progress) {
		switch {
		case p.Done:
			s.note(Event{Code: codeDrained, Subject: s.node.Name(), Text: p.String()})
		case p.Step == drain.Leave:
			pause := time.NewTimer(min(lastLook, limit))
			<-pause.C // on the goroutine of the drain
		}
		if len(p.Waits) > 0 {
			say(p.String())
		}
	})}
	for _, step := range []drain.Step{drain.Placement, drain.Connections, drain.Commands, drain.Calls} {
		opts = append(opts, drain.Limit(step, limit))
	}
	return drain.Node(ctx, s.node, opts...)
}

// onNode calls a function of this API on the node that ?id= names.
func onNode[In, Out any](ctx context.Context, s *Server, r *http.Request, f *cluster.Function[In, Out], in In) (id string, out Out, err error) {
	id = r.URL.Query().Get("id")
	out, err = callNode(ctx, s, id, f, in)
	return id, out, err
}

// callNode calls a function of this API on a node. An error says which nodes there are.
func callNode[In, Out any](ctx context.Context, s *Server, node string, f *cluster.Function[In, Out], in In) (out Out, err error) {
	ref, err := s.node.Ref(node + "/" + LoopName)
	if err == nil {
		out, err = f.Via(s.node).Call(ctx, ref, in)
	}
	if err != nil {
		err = s.advise(ctx, err, node+"/"+LoopName)
	}
	return out, err
}

func (s *Server) orderDrain(ctx context.Context, r *http.Request) (any, error) {
	limit, err := durationParam(r, "limit", mostDrain)
	if err != nil {
		return nil, err
	}
	if r.URL.Query().Get("limit") == "" {
		limit = usualDrain
	}
	before, err := durationParam(r, "notice", mostDrain)
	if err != nil {
		return nil, err
	}
	id, _, err := onNode(ctx, s, r, beginDrain, drainOrder{LimitMS: limit.Milliseconds(), NoticeMS: before.Milliseconds()})
	return &Done{Kind: "Done", APIVersion: APIVersion, ID: id}, err
}

// resumed is what taking a drain back has found.
type resumed struct {
	Was   bool `json:"was"`   // a drain was ordered
	Begun bool `json:"begun"` // too late
}

// resume is the route that takes a drain back, or says why that cannot be.
func (s *Server) resume(ctx context.Context, r *http.Request) (any, error) {
	id, out, err := onNode(ctx, s, r, takeBackDrain, struct{}{})
	switch {
	case err != nil:
		return nil, err
	case out.Begun:
		return nil, &Error{Kind: Refused, Code: codeTooLate, Message: "the drain of " + id + " has begun: what it gave away does not come back", Hint: "let it leave ('loopmesh drain " + id + "' follows it) and start it again"}
	case !out.Was:
		return nil, &Error{Kind: NotFound, Message: "node " + id + " is not being drained", Hint: "there is nothing to take back"}
	}
	return &Done{Kind: "Done", APIVersion: APIVersion, ID: id}, nil
}

func (s *Server) drainStatus(ctx context.Context, r *http.Request) (any, error) {
	id, steps, err := onNode(ctx, s, r, askDrain, struct{}{})
	return &Drain{Kind: "Drain", APIVersion: APIVersion, ID: id, Steps: steps}, err
}

// DrainNode begins the drain of a node. It does not wait for it: see Draining.
func (c *Client) DrainNode(ctx context.Context, node string, limit time.Duration) (*Done, error) {
	return c.DrainLater(ctx, node, limit, 0)
}

// DrainLater is DrainNode after a time in which Resume takes it back.
func (c *Client) DrainLater(ctx context.Context, node string, limit, notice time.Duration) (*Done, error) {
	return send[Done](ctx, c, http.MethodPost, "nodes/drain", url.Values{"id": {node}, "limit": {limit.String()}, "notice": {notice.String()}}, nil)
}

// Resume takes a drain back that has not begun. Errors: kind Refused when it has, NotFound when
// none is ordered.
func (c *Client) Resume(ctx context.Context, node string) (*Done, error) {
	return send[Done](ctx, c, http.MethodPost, "nodes/resume", url.Values{"id": {node}}, nil)
}

// Draining tells how far the drain of a node is.
func (c *Client) Draining(ctx context.Context, node string) (*Drain, error) {
	return send[Drain](ctx, c, http.MethodGet, "nodes/drain", url.Values{"id": {node}}, nil)
}
