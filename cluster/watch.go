package cluster

import (
	"fmt"
	"sync"
	"time"

	"github.com/loopmesh/loopmesh/internal/guard"
	"github.com/loopmesh/loopmesh/internal/wire"
	"github.com/loopmesh/loopmesh/loopnode"
)

// Terminated says that a watched loop has ended.
type Terminated struct {
	Who loopnode.Ref
	// Reason is, for errors.Is: ErrNodeDown, ErrLoopDied, ErrStopped, or why it
	// could not be watched: ErrUnknownNode, ErrUnknownLoop, ErrDeadIncarnation.
	Reason error
}

// watch is one watch of this node. Guarded by watchTable.mu.
type watch struct {
	id     uint64
	ref    loopnode.Ref
	number uint64 // incarnation watched, 0 until it is known
	fn     func(Terminated)
	acked  bool
	sent   time.Time
	loop   *loopnode.Loop // of this process; nil when it is elsewhere
	unhook func()         // takes back the hook in loop
}

// watchTable are the watches of this node that have not ended. Taking one out
// is what makes its notice happen once.
type watchTable struct {
	mu     sync.Mutex
	byID   map[uint64]*watch
	notify notifier
}

func (t *watchTable) init() { t.byID = map[uint64]*watch{} }

// Watch calls fn once, when ref's loop ends, also when its node dies, and when
// it cannot be watched because it does not exist. fn runs on a goroutine of the
// node, one after another; it should hand the notice over, not work. stop ends
// the watch: fn is not called after it has returned, unless it has begun before.
// Watch does not wait.
func (n *Node) Watch(ref loopnode.Ref, fn func(Terminated)) (stop func(), err error) {
	if fn == nil {
		return nil, badConfig("Watch needs a function, not nil")
	}
	loop, addr, err := locate(n, ref)
	w := &watch{id: n.pending.draw(), ref: ref, number: addr.Incarnation, fn: fn, loop: loop}
	n.watches.mu.Lock()
	if n.closing.Load() {
		n.watches.mu.Unlock()
		return nil, fmt.Errorf("%w: the node has been closed", ErrClosed)
	}
	n.watches.byID[w.id] = w
	n.watches.mu.Unlock()
	switch {
	case err != nil: // a loop of this node that is not there
		n.endWatch(w.id, err)
	case loop != nil:
		n.watchLocal(w)
	default:
		n.watchRemote(w, addr.Node)
	}
	return func() { n.unwatch(w) }, nil
}

func (n *Node) watchLocal(w *watch) {
	w.unhook = w.loop.OnClose(func() { n.localEnded(w) })
}

func (n *Node) localEnded(w *watch) {
	n.endWatch(w.id, endOf(w.loop))
}

func (n *Node) watchRemote(w *watch, node string) {
	if w.number == 0 {
		if m, ok := n.members.find(node); ok {
			n.watches.mu.Lock()
			w.number = m.number
			n.watches.mu.Unlock()
		}
	}
	n.sendWatch(w, time.Now())
}

// sendWatch asks the other node. It is repeated until it is acknowledged.
func (n *Node) sendWatch(w *watch, now time.Time) {
	addr := w.ref.Address()
	n.watches.mu.Lock()
	w.sent = now
	number := w.number
	n.watches.mu.Unlock()
	f := &wire.Frame{Kind: wire.Watch, ID: w.id, From: n.name, FromNumber: n.number, Incarnation: number, Path: addr.Path}
	if err := n.send(n.subjects.of(addr.Node), n.subjects.reply+watchToken+addr.Node, f); err != nil {
		n.log.Debug("a watch could not be sent; it will be sent again", "target", addr, "error", err)
	}
}

// endWatch takes the watch out and tells its owner. False when it had ended.
func (n *Node) endWatch(id uint64, reason error) bool {
	t := &n.watches
	t.mu.Lock()
	w := t.byID[id]
	delete(t.byID, id)
	t.mu.Unlock()
	if w == nil {
		return false
	}
	t.notify.add(func() { w.fn(Terminated{Who: w.ref, Reason: reason}) })
	return true
}

func (n *Node) watchPanicked(p *guard.Panic) {
	n.log.Error("a function given to Watch panicked", "panic", p.Error(), "stack", string(p.Stack))
}

func (n *Node) unwatch(w *watch) {
	t := &n.watches
	t.mu.Lock()
	_, live := t.byID[w.id]
	delete(t.byID, w.id)
	t.mu.Unlock()
	switch {
	case !live:
	case w.loop != nil:
		w.unhook()
	default:
		n.sendUnwatch(w.ref.Address().Node, w.id)
	}
}

func (n *Node) sendUnwatch(node string, id uint64) {
	n.answer(n.subjects.of(node), &wire.Frame{Kind: wire.Unwatch, ID: id, From: n.name, FromNumber: n.number})
}

// acknowledged handles Result and Error when they answer a watch.
func (t *watchTable) acknowledged(n *Node, f *wire.Frame) bool {
	t.mu.Lock()
	w := t.byID[f.ID]
	if w == nil || w.loop != nil {
		t.mu.Unlock()
		return false
	}
	w.acked = true
	node := w.ref.Address().Node
	if m, ok := n.members.find(node); ok && w.number == 0 {
		w.number = m.number
	}
	t.mu.Unlock()
	if f.Kind == wire.Error {
		n.endWatch(f.ID, remoteError(w.ref.String(), "", f))
	}
	return true
}

// terminated handles the notice of another node. It is acknowledged even when
// it is not wanted any more: it would be sent again.
func (n *Node) terminated(f *wire.Frame) {
	n.sendUnwatch(f.From, f.ID)
	n.watches.mu.Lock()
	w := n.watches.byID[f.ID]
	mine := w != nil && w.ref.Address().Node == f.From
	n.watches.mu.Unlock()
	if mine {
		n.endWatch(f.ID, remoteError(w.ref.String(), "", f))
	}
}

func (t *watchTable) where(match func(*watch) bool) (out []*watch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range t.byID {
		if match(w) {
			out = append(out, w)
		}
	}
	return out
}

func (t *watchTable) nodeDown(n *Node, name string, number uint64, why string) {
	for _, w := range t.where(func(w *watch) bool {
		return w.loop == nil && w.ref.Address().Node == name && (w.number == number || w.number == 0 && !w.acked)
	}) {
		n.endWatch(w.id, &RemoteError{Target: w.ref.String(), Message: why, code: wire.NodeDown})
	}
}

// unreachable ends the watches of a node that is not even a member.
func (t *watchTable) unreachable(n *Node, node string) {
	if _, member := n.members.find(node); member {
		return // its death is found out in the ordinary way
	}
	for _, w := range t.where(func(w *watch) bool { return w.loop == nil && w.ref.Address().Node == node }) {
		n.endWatch(w.id, &RemoteError{Target: w.ref.String(), Message: "nobody listens under that name", code: wire.UnknownNode})
	}
}

// nodes are those with a watched loop.
func (t *watchTable) nodes() []string {
	var out []string
	for _, w := range t.where(func(w *watch) bool { return w.loop == nil }) {
		out = append(out, w.ref.Address().Node)
	}
	return out
}

// resend repeats what was not acknowledged.
func (t *watchTable) resend(n *Node, now time.Time) {
	for _, w := range t.where(func(w *watch) bool {
		return w.loop == nil && !w.acked && now.Sub(w.sent) >= n.cfg.Heartbeat
	}) {
		n.sendWatch(w, now)
	}
}

// again makes resend repeat every watch: the connection was lost in between.
func (t *watchTable) again() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range t.byID {
		w.acked, w.sent = false, time.Time{}
	}
}

func (t *watchTable) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.byID)
}
