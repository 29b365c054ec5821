package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/internal/wire"
	"github.com/loopmesh/loopmesh/loopnode"
)

// cast sends a call without an answer. What is known to be in vain is an error.
func (n *Node) cast(addr actors.Address, f *wire.Frame) error {
	if err := n.address(addr, f); err != nil {
		return err
	}
	if err := n.post(addr.Node, f); err != nil {
		return fmt.Errorf("%s/%s: %w", addr.Node, addr.Path, err)
	}
	n.stats.castsOut.Add(1)
	return nil
}

// address completes a frame that nobody answers, or says why it would be in vain.
func (n *Node) address(addr actors.Address, f *wire.Frame) error {
	fail := func(kind error, text string) error { // not made for those that go well
		p := &pending{node: addr.Node, target: addr.Node + "/" + addr.Path, function: f.Function}
		return p.failure(kind, text)
	}
	m, known := n.members.find(addr.Node)
	switch {
	case n.closing.Load():
		return fail(ErrClosed, "this node has been closed")
	case n.offline.Load():
		return fail(ErrDisconnected, "nothing was sent")
	case !known:
		return fail(ErrUnknownNode, "it is not a member of the cluster")
	case addr.Incarnation != 0 && addr.Incarnation != m.number:
		return fail(ErrDeadIncarnation, fmt.Sprintf("the node lives as incarnation %d now", m.number))
	case len(f.Payload) > n.cfg.MaxPayload:
		return fail(ErrTooLarge, fmt.Sprintf("%d bytes, the limit is %d (Config.MaxPayload)", len(f.Payload), n.cfg.MaxPayload))
	}
	f.ID, f.From, f.FromNumber, f.Incarnation, f.Path = n.pending.draw(), n.name, n.number, addr.Incarnation, addr.Path
	if err := f.Check(n.cfg.MaxPayload); err != nil {
		return fail(ErrTooLarge, err.Error())
	}
	return nil
}

// serveCast starts a call without an answer. Receiving goroutine.
func (n *Node) serveCast(f *wire.Frame) {
	n.stats.castsIn.Add(1)
	h, e, err := n.admit(f)
	if err == nil && !n.inbound.enter(h) {
		err = codef(wire.Busy, "%w: %d calls are unfinished", ErrBusy, n.cfg.MaxInbound)
	}
	if err != nil {
		n.castFailed(f.Function, f.From, err)
		return
	}
	codec, payload, op, when := f.Codec, f.Payload, f.Op, f.When
	run := func(ctx context.Context) (struct{}, error) {
		_, err := e.serve(ctx, codec, payload)
		return struct{}{}, err
	}
	ended := func(err error) { n.castEnded(h, err) }
	start := func() { runCast(&callContext{Context: h.ctx}, h.loop, e.name, run, ended) }
	if err := schedule(h.loop, op, when, start); err != nil {
		n.inbound.leave(h)
		n.castFailed(f.Function, f.From, err)
	}
}

func (n *Node) castEnded(h *hosted, err error) {
	n.inbound.leave(h)
	if err != nil {
		n.stats.castsFailed.Add(1)
	}
}

func (n *Node) castFailed(function, from string, err error) {
	n.stats.castsFailed.Add(1)
	if ok, more := n.quiet.casts.allow(time.Now().UnixNano()); ok {
		n.log.Warn("a call without an answer did not run", "function", function, "from", from, "error", err, "kept_back", more)
	}
}

// schedule posts start to the loop, now, later or at a wall time.
func schedule(loop *loopnode.Loop, op wire.Op, when int64, start func()) error {
	post := start
	switch op {
	case wire.Later:
		post = func() { loop.CallLater(time.Duration(when), start) }
	case wire.At:
		post = func() { loop.CallLater(time.Until(time.Unix(0, when)), start) }
	}
	if err := loop.Post(post); err != nil {
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return nil
}

// runCast runs the function as a task nobody waits for. Loop goroutine. ended
// may be nil.
func runCast(ctx context.Context, loop *loopnode.Loop, name string, run func(context.Context) (struct{}, error), ended func(error)) {
	task := loopnode.CreateTask(ctx, name, run)
	task.AddDoneCallback(func(t *loopnode.Future[struct{}]) {
		_, err := t.Result()
		if err != nil && !errors.Is(err, loopnode.ErrCancelled) {
			loop.CallExceptionHandler(loopnode.ExceptionContext{
				Message: "Exception in function " + name + " called without waiting for it", Exception: err,
			})
		}
		if ended != nil {
			ended(err)
		}
	})
}
