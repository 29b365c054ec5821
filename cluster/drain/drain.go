package drain

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
)

// Step is a part of a drain.
type Step string

// The steps, in the order in which they are waited for. What each of them needs is asked
// for at the beginning, so that all of it ends meanwhile.
const (
	Placement   Step = "placement"   // groups are left; placed singletons stop and their names are free
	Connections Step = "connections" // who was told GoingAway has closed
	Commands    Step = "commands"    // runs of durable work that have begun
	Calls       Step = "calls"       // of other nodes, with and without an answer
	Leave       Step = "leave"       // what is left is closed, and the others hear goodbye
)

// steps are all, with their limits unless Limit says otherwise.
var steps = []struct {
	step  Step
	limit time.Duration
}{{Placement, 5 * time.Second}, {Connections, 10 * time.Second}, {Commands, 30 * time.Second}, {Calls, 30 * time.Second}, {Leave, 5 * time.Second}}

// Progress says how far a drain is.
type Progress struct {
	Step  Step     `json:"step"`
	Done  bool     `json:"done"`  // the step has ended
	Waits []string `json:"waits"` // what it waits for, for people; of a step that has ended: what was cut off
	// Took is how long the step has taken.
	Took time.Duration `json:"took_ns"`
}

// String is one line.
func (p Progress) String() string {
	what := strings.Join(p.Waits, ", ")
	switch {
	case !p.Done && what == "":
		return string(p.Step)
	case !p.Done:
		return fmt.Sprintf("%s: waits for %s", p.Step, what)
	case what != "":
		return fmt.Sprintf("%s: cut off after %v: %s", p.Step, p.Took.Round(time.Millisecond), what)
	}
	return fmt.Sprintf("%s: done in %v", p.Step, p.Took.Round(time.Millisecond))
}

// Option changes a drain.
type Option func(*options)

type options struct {
	limits map[Step]time.Duration
	tell   func(Progress)
}

// Limit bounds a step. What has not ended by then is cut off, and the next step begins.
func Limit(step Step, d time.Duration) Option {
	return func(o *options) { o.limits[step] = d }
}

// OnProgress has fn called when a step begins or ends, and when what it waits for has
// changed, at most ten times a second, on the goroutine of Node.
func OnProgress(fn func(Progress)) Option { return func(o *options) { o.tell = fn } }

// state is the drain of a node: there is one.
type state struct {
	mu    sync.Mutex
	begun bool
	last  []Progress    // of each step that has begun
	ended chan struct{} // closed when it is over
	err   error
}

type stateKey struct{}

func stateOf(parts *inside.Parts) *state {
	return inside.Shared(parts, stateKey{}, func() *state { return &state{ended: make(chan struct{})} })
}

// Node has a node leave in good order: others take over what they can, new calls are
// refused with an error that says that nothing ran (groups.ErrLeaving; calls of a group go to
// another member), connections are told, and what is under way ends by itself, each step
// within its limit. Then the node is closed. It waits for all that and blocks its
// goroutine; it must not be called on a loop of the node. When ctx ends, nothing more is
// waited for: what is left is cut off, and the node is closed.
//
// A second call for a node waits for the first one and has its result; its options do
// nothing, and the end of its ctx ends only its own waiting, with ctx's error. Errors: cluster.ErrCutOff with what was cut off, and with it ctx's error when
// that ended the waiting; nil: nothing was.
func Node(ctx context.Context, n *cluster.Node, opts ...Option) error {
	if ctx == nil || n == nil {
		return fault.Config("a drain needs a ctx and a node, not nil")
	}
	o := options{limits: map[Step]time.Duration{}}
	for _, s := range steps {
		o.limits[s.step] = s.limit
	}
	for _, set := range opts {
		if set != nil {
			set(&o)
		}
	}
	parts := n.Inside(inside.Key{})
	s := stateOf(parts)
	s.mu.Lock()
	first := !s.begun
	s.begun = true
	s.mu.Unlock()
	if !first {
		return s.wait(ctx, n)
	}
	defer close(s.ended)
	defer n.Close() // OnProgress may panic; else it is closed already
	d := &drain{node: n, parts: parts, state: s, options: o}
	s.err = d.run(ctx)
	return s.err
}

// wait is a call of Node for a node that drains already.
func (s *state) wait(ctx context.Context, n *cluster.Node) error {
	select {
	case <-s.ended:
		return s.err
	case <-ctx.Done():
	}
	select {
	case <-s.ended: // both, and then its result counts
		return s.err
	default:
		return fmt.Errorf("the drain of node %s goes on: %w", n.Name(), context.Cause(ctx))
	}
}

// Status is how far the drain of a node is: each step that has begun, in order. nil: no
// drain has begun.
func Status(n *cluster.Node) []Progress {
	s := stateOf(n.Inside(inside.Key{}))
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Progress(nil), s.last...)
}

// What goes on at the same time. Everything that a step waits for is told to end before the
// first wait, but for the singletons, which go first and alone: a caller that is refused
// must find somebody else already. So the limits of the steps overlap in what they cover: a
// command that needs twenty seconds runs while connections are waited for, and its own step
// then takes ten.
//
// What may still begin here. A call of a loop of this process by its own program; a timer
// that was set before; a connection that this node's program opens. They end with the
// program that began them, or are cut off when their loops are closed.
//
// Invariant: the node is closed when Node returns, whatever happened, and it is closed
// once: a Close of the program in between ends every wait (closed).

// drain is one under way. Owned by the goroutine of Node.
type drain struct {
	node  *cluster.Node
	parts *inside.Parts
	state *state
	options
	cut []string
}

// run goes through the steps. The order in which things are asked for matters: groups and
// names first, so that callers find somebody else before this node refuses them; then no
// connection is accepted and no call taken; then connections are told.
func (d *drain) run(ctx context.Context) error {
	if d.closed() {
		return nil // there is nothing that could be waited for, nor cut off
	}
	placed, work := make(chan struct{}), make(chan struct{})
	finishing, give := context.WithCancel(context.Background())
	defer give()
	// goroutine: owner: drain; ends when the singletons have stopped, which Close of the node waits for, too
	go func() {
		d.parts.Leave()
		close(placed)
	}()
	d.wait(ctx, Placement, func() []string { return unless(placed, "singletons that stop") })
	d.parts.Refuse()
	c := &connections{node: d.node}
	c.goAway(ctx, time.Now().Add(d.limits[Connections]))
	// goroutine: owner: drain; ends when what runs has ended, or give ends finishing
	go func() {
		d.parts.Finish(finishing)
		close(work)
	}()
	d.wait(ctx, Connections, func() []string { return c.left(ctx) })
	d.wait(ctx, Commands, func() []string {
		if left := d.parts.Left(); len(left) > 0 {
			return left
		}
		return unless(work, "durable work that gives back what it has not begun")
	})
	d.wait(ctx, Calls, d.calls)
	give()
	d.leave(c)
	if len(d.cut) == 0 {
		return nil
	}
	err := fmt.Errorf("draining node %s: %w: %s", d.node.Name(), cluster.ErrCutOff, strings.Join(d.cut, ", "))
	if ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", err, context.Cause(ctx))
	}
	return err
}

// unless is what is waited for until ended is closed.
func unless(ended <-chan struct{}, what string) []string {
	select {
	case <-ended:
		return nil
	default:
		return []string{what}
	}
}

// calls are those of other nodes that have not ended.
func (d *drain) calls() (out []string) {
	calls, casts := d.parts.Running()
	if calls > 0 {
		out = append(out, fmt.Sprintf("%d calls", calls))
	}
	if casts > 0 {
		out = append(out, fmt.Sprintf("%d calls without an answer", casts))
	}
	return out
}

// Times between two looks at what is waited for, and two reports of it.
const (
	look   = 5 * time.Millisecond
	report = 100 * time.Millisecond
)

// wait waits until left is empty, the limit of the step is over, or ctx is. What is left
// then is cut off.
func (d *drain) wait(ctx context.Context, step Step, left func() []string) {
	begun, told := time.Now(), time.Time{}
	tick := time.NewTicker(look)
	defer tick.Stop()
	for last := ""; ; {
		waits := left()
		took := time.Since(begun)
		if over := len(waits) == 0 || took >= d.limits[step] || ctx.Err() != nil || d.closed(); over {
			d.tell(Progress{Step: step, Done: true, Waits: waits, Took: took})
			d.cut = append(d.cut, waits...)
			return
		}
		if text := strings.Join(waits, ", "); told.IsZero() || text != last && time.Since(told) >= report {
			d.tell(Progress{Step: step, Waits: waits, Took: took})
			last, told = text, time.Now()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		case <-d.node.Done():
		}
	}
}

func (d *drain) closed() bool {
	select {
	case <-d.node.Done():
		return true
	default:
		return false
	}
}

// leave closes what is left. Connections that know no GoingAway had time until now; they
// send what they have to send, for as long as the limit.
func (d *drain) leave(c *connections) {
	begun := time.Now()
	d.tell(Progress{Step: Leave})
	ctx, cancel := context.WithTimeout(context.Background(), d.limits[Leave])
	defer cancel()
	c.close(ctx)
	if len(d.cut) > 0 {
		cancel() // what has not ended by now is not waited for twice
	}
	// What CallLater has set here is lost with its loop: Stop says how many, and closes.
	err := d.node.Stop(ctx)
	p := Progress{Step: Leave, Done: true, Took: time.Since(begun)}
	if errors.Is(err, cluster.ErrCutOff) && len(d.cut) == 0 {
		p.Waits = []string{strings.TrimPrefix(err.Error(), fmt.Sprintf("stopping node %s: %v: ", d.node.Name(), cluster.ErrCutOff))}
		d.cut = append(d.cut, p.Waits...)
	}
	d.tell(p)
}

// tell notes how far it is.
func (d *drain) tell(p Progress) {
	s := d.state
	s.mu.Lock()
	if n := len(s.last); n > 0 && s.last[n-1].Step == p.Step {
		s.last[n-1] = p
	} else {
		s.last = append(s.last, p)
	}
	s.mu.Unlock()
	d.parts.Log.Info("drain", "progress", p.String())
	if d.options.tell != nil {
		d.options.tell(p)
	}
}
