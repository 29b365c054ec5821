package loopnode

import (
	"fmt"
	"sync"
)

// Close ends the loop for good: it drops what is queued without running it,
// releases whoever waits for its futures, tells owners of descriptors and of
// actors, tells the executor to stop without waiting, and reports tasks that
// were still pending and failures nobody has looked at. What user code throws
// on the way, runtime.Goexit included, is reported and does not stop it.
// Closing twice is harmless; closing a running loop is ErrLoopRunning and
// changes nothing. asyncio: loop.close.
func (l *Loop) Close() error { return l.CloseWith(nil) }

// CloseWith is Close for a loop that ends because of why: CloseReason and the
// actors on the loop are told.
func (l *Loop) CloseWith(why error) error {
	if l.closed.Load() && onLoop() {
		return nil // perhaps from inside this very close, which cannot wait for itself
	}
	l.closing.Lock()
	defer l.closing.Unlock()
	if first, err := l.beginClose(why); !first {
		return err
	}
	l.strict = true
	close(l.gone)
	running.add(l) // what hooks and unwinding tasks do, they do on l and on no other loop
	l.onClose.run(func(fn func()) { l.contained("in a close hook", fn) })
	l.inbox.Drain(l.admit)
	l.abandonTasks()
	l.endSignals()
	l.inbox.Close(l.admit)
	l.abandonTasks() // those that were on their way
	l.abandonGenerators()
	running.remove(l)
	l.dropQueued()
	l.core.Timers.Clear()
	l.pools.abandon()
	l.reportUnretrieved()
	l.dropped.Stop()
	l.left.release()
	l.watches, l.readBuf = nil, nil
	return l.backend.Close()
}

// beginClose makes the loop closed, unless it runs or is closed already.
func (l *Loop) beginClose(why error) (first bool, err error) {
	l.phase.Lock()
	defer l.phase.Unlock()
	switch {
	case l.running.Load():
		return false, fmt.Errorf("%w: %s: stop it before closing it", ErrLoopRunning, l.name)
	case l.closed.Load():
		return false, nil
	}
	l.why = why
	l.closed.Store(true)
	return true, nil
}

// dropQueued empties the ready queue. Whoever waits for a callback in it is told.
func (l *Loop) dropQueued() {
	for l.core.Ready.Len() > 0 {
		if h, ok := l.core.Ready.Pop().Meta.(*SafeHandle); ok {
			h.Cancel()
		}
	}
	l.core.Ready.Clear()
}

// CloseFailure is what CloseWith was given; nil on a loop that is open, or was
// closed in good order. Any goroutine.
func (l *Loop) CloseFailure() error {
	if !l.closed.Load() {
		return nil
	}
	return l.why
}

// CloseReason is why the loop is closed: ErrLoopClosed, and with it the failure
// given to CloseWith. It is nil while the loop is open. Any goroutine.
func (l *Loop) CloseReason() error {
	switch {
	case !l.closed.Load():
		return nil
	case l.why == nil:
		return ErrLoopClosed
	}
	return fmt.Errorf("%w: %s: %w", ErrLoopClosed, l.name, l.why)
}

// OnClose makes Close run fn, in the order of the calls: owners of descriptors
// let go there. CloseReason tells fn why. remove takes it back. On a loop that
// is closed fn runs at once, on the caller's goroutine. A nil fn is nothing to
// run. Any goroutine; fn runs on the one that closes the loop.
func (l *Loop) OnClose(fn func()) (remove func()) {
	if fn == nil {
		return func() {}
	}
	c := &closer{fn}
	if !l.onClose.add(c) {
		fn()
	}
	return func() { l.onClose.remove(c) }
}

// closer is one function that Close runs; nil once it is taken back or has run.
type closer struct{ fn func() }

// closers are a loop's close hooks. Any goroutine.
type closers struct {
	mu   sync.Mutex
	list []*closer
	over bool // run was called: nobody is added any more
}

func (h *closers) add(c *closer) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.over {
		h.list = append(h.list, c)
	}
	return !h.over
}

// remove drops removed hooks once they are the majority.
func (h *closers) remove(c *closer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c.fn = nil
	live := 0
	for _, c := range h.list {
		if c.fn != nil {
			live++
		}
	}
	if len(h.list) < 32 || live*2 > len(h.list) {
		return
	}
	kept := h.list[:0]
	for _, c := range h.list {
		if c.fn != nil {
			kept = append(kept, c)
		}
	}
	clear(h.list[len(kept):])
	h.list = kept
}

// run hands every hook to call, once. Why not under the lock: a hook may take
// others back.
func (h *closers) run(call func(fn func())) {
	h.mu.Lock()
	list := h.list
	h.list, h.over = nil, true
	h.mu.Unlock()
	for _, c := range list {
		h.mu.Lock()
		fn := c.fn
		c.fn = nil
		h.mu.Unlock()
		if fn != nil {
			call(fn)
		}
	}
}
