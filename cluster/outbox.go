package cluster

import (
	"bytes"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/loopmesh/loopmesh/internal/wire"
)

// batchLimit is how much is gathered for one peer before it is sent by whoever
// fills it.
const batchLimit = 32 << 10

// outbox gathers the frames for one peer that nobody answers. Whoever posts never
// waits for more: a goroutine of the node sends what is there as soon as it runs,
// so one frame goes at once and many go together.
type outbox struct {
	subject string
	mu      sync.Mutex
	buf     []byte // a wire.Batch; what it holds is in frames
	frames  int
	queued  bool        // in outboxTable.ready
	waiting atomic.Bool // something is posted and not yet with NATS
}

type outboxTable struct {
	mu        sync.RWMutex
	byName    map[string]*outbox
	bySubject map[string]*outbox

	readyMu sync.Mutex
	ready   []*outbox
	wake    chan struct{}
}

func (t *outboxTable) init() {
	t.byName, t.bySubject, t.wake = map[string]*outbox{}, map[string]*outbox{}, make(chan struct{}, 1)
}

// post sends a frame that nobody answers, in order with all that this goroutine
// sends to the node. It does not wait.
func (n *Node) post(node string, f *wire.Frame) error {
	if !n.nc.IsConnected() {
		if n.nc.IsClosed() || n.closing.Load() {
			return sendError(nats.ErrConnectionClosed)
		}
		return sendError(nats.ErrDisconnected)
	}
	return n.outboxes.of(n, node).post(n, f)
}

// of is the box for a member. There are as many as members that were sent to.
func (t *outboxTable) of(n *Node, node string) *outbox {
	t.mu.RLock()
	b := t.byName[node]
	t.mu.RUnlock()
	if b != nil {
		return b
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if b = t.byName[node]; b == nil {
		b = &outbox{subject: n.subjects.of(node)}
		t.byName[node], t.bySubject[b.subject] = b, b
	}
	return b
}

// drop forgets the box of a node that is gone.
func (t *outboxTable) drop(n *Node, node string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byName, node)
	delete(t.bySubject, n.subjects.of(node))
}

// settle sends what waits for a subject, because something else follows it.
func (t *outboxTable) settle(n *Node, subject string) {
	t.mu.RLock()
	b := t.bySubject[subject]
	t.mu.RUnlock()
	if b != nil && b.waiting.Load() {
		b.flush(n)
	}
}

// flush sends everything; after Node.closing is set nothing follows.
func (t *outboxTable) flush(n *Node) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, b := range t.byName {
		b.flush(n)
	}
}

// run is the goroutine that sends what was posted.
func (t *outboxTable) run(n *Node) func() {
	return func() {
		var mine []*outbox
		for {
			select {
			case <-n.stop:
				return
			case <-t.wake:
			}
			t.readyMu.Lock()
			mine, t.ready = t.ready, mine[:0]
			t.readyMu.Unlock()
			for i, b := range mine {
				b.flush(n)
				mine[i] = nil
			}
		}
	}
}

func (t *outboxTable) queue(b *outbox) {
	t.readyMu.Lock()
	t.ready = append(t.ready, b)
	t.readyMu.Unlock()
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

func (b *outbox) post(n *Node, f *wire.Frame) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n.closing.Load() { // under mu: Close has sent, or will send, what is in the box
		return sendError(nats.ErrConnectionClosed)
	}
	if b.frames == 0 {
		b.buf = wire.AppendBatch(b.buf[:0])
	}
	at := len(b.buf)
	b.buf = f.AppendInBatch(b.buf)
	if size := len(b.buf) - at - wire.BatchEach; size > n.maxFrame {
		b.buf = b.buf[:at]
		return codef(wire.TooLarge, "%w: frame of %d bytes, the NATS server takes %d", ErrTooLarge, size, n.maxFrame)
	}
	b.frames++
	b.waiting.Store(true)
	if len(b.buf) > min(batchLimit, n.maxFrame) {
		return b.overflow(n, at)
	}
	if !b.queued {
		b.queued = true
		n.outboxes.queue(b)
	}
	return nil
}

// overflow sends what was there before the frame at that place, and the frame.
// Only the error of the latter is the caller's.
func (b *outbox) overflow(n *Node, at int) error {
	last := b.buf[at+wire.BatchEach:]
	if b.frames > 1 {
		b.lost(n, b.frames-1, b.publish(n, b.buf[:at], b.frames-1))
	}
	err := b.publish(n, last, 1)
	b.frames = 0
	b.waiting.Store(false)
	if cap(b.buf) > 2*batchLimit {
		b.buf = nil // one large frame must not hold memory for ever
	}
	return err
}

// flush sends what is there.
func (b *outbox) flush(n *Node) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queued = false
	switch b.frames {
	case 0:
		return
	case 1:
		b.lost(n, 1, b.publish(n, b.buf[wire.BatchHead+wire.BatchEach:], 1))
	default:
		b.lost(n, b.frames, b.publish(n, b.buf, b.frames))
	}
	b.frames = 0
	b.waiting.Store(false)
}

func (b *outbox) publish(n *Node, message []byte, frames int) error {
	if err := n.nc.Publish(b.subject, message); err != nil {
		n.stats.sendErrors.Add(uint64(frames))
		return sendError(err)
	}
	n.stats.framesOut.Add(uint64(frames))
	if frames > 1 {
		n.stats.batches.Add(1)
	}
	return nil
}

// lost logs frames whose senders are gone: at most once is the promise.
func (b *outbox) lost(n *Node, frames int, err error) {
	if err == nil || n.closing.Load() {
		return
	}
	if ok, more := n.quiet.answers.allow(time.Now().UnixNano()); ok {
		n.log.Warn("calls without an answer or messages were lost on the way out", "frames", frames, "to", b.subject, "error", err, "kept_back", more)
	}
}

// unpack handles the frames of a batch one after another. Receiving goroutine.
func (n *Node) unpack(f *wire.Frame, names *wire.Names, m *nats.Msg, reply bool) {
	rest := f.Payload
	if len(rest) == 0 {
		n.malformed(m.Subject, fmt.Errorf("%w: an empty batch", wire.ErrShort))
		return
	}
	for first := true; len(rest) > 0; first = false {
		if !first {
			n.stats.framesIn.Add(1)
		}
		one, more, err := wire.NextInBatch(rest)
		if err != nil {
			n.malformed(m.Subject, err)
			return
		}
		rest = more
		if err := wire.Decode(one, f, names); err != nil {
			n.malformed(m.Subject, err)
			continue
		}
		switch {
		case f.Kind != wire.Cast && f.Kind != wire.Tell:
			n.misplaced(f, m.Subject)
			continue
		case f.Kind == wire.Cast && f.Op != wire.Soon:
			f.Payload = bytes.Clone(f.Payload) // the rest of the batch must not wait with it
		}
		n.dispatch(f, m, reply)
	}
}
