package link

import (
	"sync"
	"sync/atomic"

	"github.com/loopmesh/loopmesh/cluster/internal/engine"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// The outbox: frames that nobody answers (calls without an answer, messages of
// actors, questions about flows) travel together. One publish costs more than one
// frame, so frames to one node that are posted at about the same time share a
// message.
//
// A box does not wait until it is full. post appends the frame and queues the box; a
// goroutine of the node (SendPosted) sends what is in it as soon as it runs. When little
// is posted, that is one frame at a time; when much is, several frames are in the box by
// then. The goroutine whose frame fills a box sends the box itself, and so waits for the
// server as in every publish.
//
// Order: frames of one goroutine to one node arrive in the order in which they were
// given, also when some are posted and some are sent directly: a direct send to a node
// first sends what is in its box (flushFor).
//
// Invariant: frames counts what is in buf and not yet with NATS.

// batchLimit is how many bytes a box may hold. The goroutine that goes above it sends
// the box.
const batchLimit = 32 << 10

// outbox holds the posted frames for one peer until they are sent together.
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
	byPeer    map[Peer]*outbox
	bySubject map[string]*outbox

	readyMu sync.Mutex
	ready   []*outbox
	wake    chan struct{}
}

func (t *outboxTable) init() {
	t.byPeer, t.bySubject, t.wake = map[Peer]*outbox{}, map[string]*outbox{}, make(chan struct{}, 1)
}

// Post sends a frame that nobody answers, in order with all that this goroutine
// sends to the node. It does not wait, unless the frame fills the box: then it
// publishes.
func (l *Link) Post(to Peer, f *wire.Frame) error { return l.Box(to).Post(f) }

// Box is the outbox of a peer, for who posts to it again and again. It is of use until
// Forget.
type Box struct {
	link *Link
	box  *outbox
}

// Box finds the outbox of a peer, or makes it.
func (l *Link) Box(to Peer) Box { return Box{l, l.outboxes.of(l, to)} }

// Post is Link.Post. Why it asks for no more than Offline: a connection that was lost in
// this moment loses what is posted, and flows find that out.
func (b Box) Post(f *wire.Frame) error {
	if b.link.Offline() && !b.link.closing.Load() {
		return sendError(fault.ErrDisconnected)
	}
	return b.box.post(b.link, f)
}

// of is the box for a member. There are as many as members that were sent to.
func (t *outboxTable) of(l *Link, to Peer) *outbox {
	t.mu.RLock()
	b := t.byPeer[to]
	t.mu.RUnlock()
	if b != nil {
		return b
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if b = t.byPeer[to]; b == nil {
		b = &outbox{subject: l.of(to)}
		t.byPeer[to], t.bySubject[b.subject] = b, b
	}
	return b
}

// Forget drops the box of a node that is gone.
func (l *Link) Forget(to Peer) {
	t := &l.outboxes
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byPeer, to)
	delete(t.bySubject, l.of(to))
}

// flushFor sends what waits for a subject, because something else follows it.
func (t *outboxTable) flushFor(l *Link, subject string) {
	t.mu.RLock()
	b := t.bySubject[subject]
	t.mu.RUnlock()
	if b != nil && b.waiting.Load() {
		b.flush(l)
	}
}

// flush sends what is in all boxes. Once Link.closing is set, nothing more is posted.
func (t *outboxTable) flush(l *Link) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, b := range t.byPeer {
		b.flush(l)
	}
}

// SendPosted sends what was posted, until stop is closed. It is the body of a
// goroutine.
func (l *Link) SendPosted(stop <-chan struct{}) {
	t := &l.outboxes
	var mine []*outbox
	for {
		select {
		case <-stop:
			return
		case <-t.wake:
		}
		t.readyMu.Lock()
		mine, t.ready = t.ready, mine[:0]
		t.readyMu.Unlock()
		for i, b := range mine {
			b.flush(l)
			mine[i] = nil
		}
	}
}

// queue lets SendPosted look at b.
func (t *outboxTable) queue(b *outbox) {
	t.readyMu.Lock()
	t.ready = append(t.ready, b)
	t.readyMu.Unlock()
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// post appends a frame. A frame that is too long is taken out again, so that its
// neighbours are not lost with it.
func (b *outbox) post(l *Link, f *wire.Frame) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l.closing.Load() { // under mu: Shut has sent, or will send, what is in the box
		return sendError(engine.ErrClosed)
	}
	if b.frames == 0 {
		b.buf = wire.AppendBatch(b.buf[:0])
	}
	at := len(b.buf)
	b.buf = f.AppendInBatch(b.buf)
	if size := len(b.buf) - at - wire.BatchEach; size > l.maxFrame {
		b.buf = b.buf[:at]
		return tooLong(size, l.maxFrame)
	}
	b.frames++
	b.waiting.Store(true)
	if len(b.buf) > min(batchLimit, l.maxFrame) {
		return b.overflow(l, at)
	}
	if !b.queued {
		b.queued = true
		l.outboxes.queue(b)
	}
	return nil
}

// overflow sends the frames before the one at that place, and then that one. It returns
// the error of the last one only: the callers of the others have had their answer.
func (b *outbox) overflow(l *Link, at int) error {
	last := b.buf[at+wire.BatchEach:]
	if b.frames > 1 {
		b.lost(l, b.frames-1, b.publish(l, b.buf[:at], b.frames-1))
	}
	err := b.publish(l, last, 1)
	b.frames = 0
	b.waiting.Store(false)
	if cap(b.buf) > 2*batchLimit {
		b.buf = nil // one large frame must not hold memory for ever
	}
	return err
}

// flush sends what is there.
func (b *outbox) flush(l *Link) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queued = false
	switch b.frames {
	case 0:
		return
	case 1:
		b.lost(l, 1, b.publish(l, b.buf[wire.BatchHead+wire.BatchEach:], 1))
	default:
		b.lost(l, b.frames, b.publish(l, b.buf, b.frames))
	}
	b.frames = 0
	b.waiting.Store(false)
}

// publish hands a message to NATS and counts its frames.
func (b *outbox) publish(l *Link, message []byte, frames int) error {
	if err := l.conn.Publish(b.subject, "", message); err != nil {
		l.stats.sendErrors.Add(uint64(frames))
		return sendError(err)
	}
	l.stats.framesOut.Add(uint64(frames))
	if frames > 1 {
		l.stats.batches.Add(1)
	}
	return nil
}

// lost logs frames that could not be published after post had accepted them. They are
// not repeated: the promise is at most once.
func (b *outbox) lost(l *Link, frames int, err error) {
	if err == nil || l.closing.Load() {
		return
	}
	if ok, more := l.quiet.answers.Allow(); ok {
		l.log.Warn("calls without an answer or messages were lost on the way out", "frames", frames, "to", b.subject, "error", err, "kept_back", more)
	}
}
