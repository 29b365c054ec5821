package calls

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/host"
	"github.com/loopmesh/loopmesh/cluster/internal/link"
	"github.com/loopmesh/loopmesh/cluster/internal/registry"
	"github.com/loopmesh/loopmesh/cluster/internal/traces"
	"github.com/loopmesh/loopmesh/internal/loopaccess"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// One call of another node. Serve runs on the receiving goroutine and queues the call;
// Begin, the task and Ended run on the loop. The fields from task on belong to the
// loop's goroutine, so a cancellation is posted there, too.

// inbound is a call of another node that runs here, or waits to. Whoever
// takes it out of the table, and only that one, answers it.
type inbound struct {
	table   *Incoming
	key     callKey
	target  *host.Loop
	entry   *registry.Entry
	codec   wire.Codec
	payload []byte
	trace   string    // context of the caller's span
	came    time.Time // where somebody wants to know; else zero
	ctx     Context   // what the function's task starts from
	admin   bool      // of the admin API

	state atomic.Int32 // waiting, or what became of it

	// Owned by the loop goroutine.
	task      loopaccess.Task
	out       registry.Outcome // what the function has returned
	alarm     func()           // cancels the deadline's timer
	overdue   bool
	withdrawn bool // cancelled before it began
	queued    bool // it counts as running in the queue of its loop
}

// A call waits until the first step of its task: in the queue of its loop, or as a task that
// has had no turn. When its loop ends, whoever moves it out of waiting decides what its caller
// hears: that nothing ran, and another loop may be asked, or that the function may have run.
const (
	waiting int32 = iota
	running       // its function has begun
	never         // it was answered, and does not begin
)

// Serve starts a call of another node. Receiving goroutine.
func (t *Incoming) Serve(f *wire.Frame) {
	c := &inbound{table: t, key: callKey{f.From, f.FromNumber, f.ID}, codec: f.Codec, payload: f.Payload, trace: f.Trace, admin: strings.HasPrefix(f.Function, adminPrefix)}
	if f.Trace != "" || t.traces.On() {
		c.came = time.Now()
	}
	if f.Remaining > 0 {
		c.ctx.At = time.Now().Add(f.Remaining)
	}
	var err error
	if c.target, c.entry, err = t.loops.Admit(f, t.limits.MaxPayload); err != nil {
		c.answerError(err)
		return
	}
	c.ctx.Context, c.ctx.From = c.target.Ctx, link.Sender(f)
	known, err := t.add(c)
	switch {
	case known:
		return
	case err != nil:
		c.answerError(err)
		return
	}
	if !c.admin {
		c.target.Queue.Put(c)
		return
	}
	if err := c.target.Loop.Ref().CallSoonThreadsafe(func() { c.start() }); err != nil {
		c.Drop(err)
	}
}

// adminPrefix begins the names of the functions of package admin. Their calls do not wait in
// the queue of the loop: a question what a loop is busy with must not wait for it.
const adminPrefix = "loopmesh."

// Begin starts the task. Loop goroutine. Why queued comes first: a loop whose tasks begin
// eagerly may call Ended within start.
func (c *inbound) Begin(*host.Turn) (running bool) {
	c.queued = true
	return c.start()
}

// Drop answers a call that never begins: its loop has ended.
func (c *inbound) Drop(why error) {
	c.refuse(fault.Codef(wire.Leaving, "the loop has ended before it began the call: %w", why))
}

// start starts the task; false when the call does not run: it was cancelled, or its
// time is over. A deadline that passes while the task runs cancels it, and Ended
// then says "expired" and not "cancelled", because that is what the caller has to
// know.
func (c *inbound) start() bool {
	if c.state.Load() == never {
		return false
	}
	if c.withdrawn {
		c.refuse(fault.Codef(wire.Cancelled, "%w before it began", fault.ErrCancelled))
		return false
	}
	left := time.Duration(0)
	if !c.ctx.At.IsZero() {
		if left = time.Until(c.ctx.At); left <= 0 {
			c.table.expired.Add(1)
			c.refuse(fault.Codef(wire.Expired, "%w before the loop had time for it", fault.ErrExpired))
			return false
		}
	}
	if left > 0 {
		c.alarm = c.target.Loop.CallLater(left, func() {
			c.overdue = true
			c.task.Cancel("the caller's deadline passed")
		}).Cancel
	}
	var err error
	if c.task, err = loopaccess.Of(c.target.Loop).Start(&c.ctx, c.entry.Name, c); err != nil {
		if c.alarm != nil {
			c.alarm()
		}
		c.Drop(err)
		return false
	}
	return true
}

// Run is the body of the task. Questions and orders of package admin have no span: who
// looks at a slow program wants to see its calls, not his own looking.
func (c *inbound) Run(ctx context.Context) (err error) {
	if !c.state.CompareAndSwap(waiting, running) {
		return fault.ErrLeaving // nobody hears it: it was answered
	}
	if !c.table.traces.On() || strings.HasPrefix(c.entry.Name, adminPrefix) {
		c.out, err = c.entry.Serve(ctx, c.codec, c.payload)
		return err
	}
	ctx, end := c.table.traces.Run(ctx, c.trace, c.entry.Name, c.target.Loop.Name(), trace.SpanKindServer, c.came)
	defer func() { end(err) }()
	err = traces.ErrUnfinished
	c.out, err = c.entry.Serve(ctx, c.codec, c.payload)
	return err
}

// Func is what descriptions of the task name.
func (c *inbound) Func() any { return c.entry.Func() }

// cancel asks the task to end, or not to begin. Any goroutine.
func (c *inbound) cancel(why string) {
	_ = c.target.Loop.Ref().CallSoonThreadsafe(func() { // a closed loop has no task left
		if c.task == nil {
			c.withdrawn = true
			return
		}
		c.task.Cancel(why)
	})
}

// Ended answers with what the task ended in. The queue hears of the end first, so
// that the next call can begin whether or not this one is still to be answered. Loop
// goroutine.
func (c *inbound) Ended(err error) {
	if c.alarm != nil {
		c.alarm()
	}
	if c.queued {
		c.target.Queue.Ended()
	}
	out := c.out
	switch {
	case err != nil && c.overdue:
		c.table.expired.Add(1)
		err = fault.Codef(wire.Expired, "%w while the function ran", fault.ErrExpired)
	case err == nil && len(out.Payload) > c.table.limits.MaxPayload:
		err = fault.Codef(wire.TooLarge, "the result has %d bytes, the limit is %d", len(out.Payload), c.table.limits.MaxPayload)
	}
	if !c.table.take(c.key) {
		return
	}
	defer c.table.answered()
	c.table.served.Add(1)
	if err != nil {
		c.reply(fault.Frame(c.key.id, err))
		return
	}
	c.reply(&wire.Frame{Kind: wire.Result, Codec: out.Codec, Payload: out.Payload})
}

// refuse ends a call that does not run to its end.
func (c *inbound) refuse(err error) {
	if c.table.take(c.key) {
		defer c.table.answered()
		c.answerError(err)
	}
}

// answerError answers a call that did not run and counts it.
func (c *inbound) answerError(err error) {
	c.table.refusals.Add(1)
	c.reply(fault.Frame(c.key.id, err))
}

// reply sends an answer to the life of the node that has asked; when that is gone,
// nobody hears it.
func (c *inbound) reply(f *wire.Frame) {
	f.ID = c.key.id
	c.table.link.Answer(link.Peer{Name: c.key.from, Number: c.key.number}, f)
}
