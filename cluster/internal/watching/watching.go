// Package watching tells when a loop ends: loops elsewhere that this node watches
// (Watches), and loops here that other nodes watch (Watchers).
package watching

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/host"
	"github.com/loopmesh/loopmesh/cluster/internal/link"
	"github.com/loopmesh/loopmesh/cluster/internal/notify"
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

// Members is what watches need to know of the nodes of the cluster.
type Members interface {
	// Number is the incarnation a member lives as; false when it is no member.
	Number(node string) (uint64, bool)
}

// watchToken begins the token of a Watch; the node's name follows.
const watchToken = "w-"

// watch is one watch of this node. Guarded by Watches.mu.
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

// Watches are the watches of this node that have not ended. A watch of a loop
// elsewhere is sent again until the other node has acknowledged it, and after
// every loss of the connection. Invariant: whoever takes a watch out of the table
// calls its function, so it is called once.
type Watches struct {
	link    *link.Link
	members Members
	again   time.Duration // between two sendings of what is not acknowledged
	log     hclog.Logger
	notify  *notify.Queue

	mu   sync.Mutex
	byID map[uint64]*watch
}

// NewWatches makes an empty table. Functions are called through q.
func NewWatches(l *link.Link, m Members, again time.Duration, q *notify.Queue, log hclog.Logger) *Watches {
	return &Watches{link: l, members: m, again: again, log: log, notify: q, byID: map[uint64]*watch{}}
}

// Add makes fn be called once, when ref's loop ends. loop is ref's loop when it is
// of this process; missing is why it cannot be watched.
func (t *Watches) Add(ref loopnode.Ref, loop *loopnode.Loop, missing error, fn func(Terminated)) (stop func(), err error) {
	w := &watch{id: t.link.NextID(), ref: ref, number: ref.Address().Incarnation, fn: fn, loop: loop}
	t.mu.Lock()
	if t.link.Closing() {
		t.mu.Unlock()
		return nil, fmt.Errorf("%w: the node has been closed", fault.ErrClosed)
	}
	t.byID[w.id] = w
	t.mu.Unlock()
	switch {
	case missing != nil:
		t.end(w.id, missing)
	case loop != nil:
		w.unhook = loop.OnClose(func() { t.end(w.id, host.End(loop)) })
	default:
		t.addRemote(w)
	}
	return func() { t.remove(w) }, nil
}

func (t *Watches) addRemote(w *watch) {
	if w.number == 0 {
		number, _ := t.members.Number(w.ref.Address().Node)
		t.mu.Lock()
		w.number = number
		t.mu.Unlock()
	}
	t.send(w, time.Now())
}

// send asks the other node to tell.
func (t *Watches) send(w *watch, now time.Time) {
	addr, me := w.ref.Address(), t.link.Self()
	t.mu.Lock()
	w.sent = now
	number := w.number
	t.mu.Unlock()
	f := &wire.Frame{Kind: wire.Watch, ID: w.id, From: me.Name, FromNumber: me.Number, Incarnation: number, Path: addr.Path}
	if err := t.link.SendFor(addr.Node, watchToken+addr.Node, f); err != nil {
		t.log.Debug("a watch could not be sent; it will be sent again", "target", addr, "error", err)
	}
}

// end takes the watch out and tells its owner. False when it had ended.
func (t *Watches) end(id uint64, reason error) bool {
	t.mu.Lock()
	w := t.byID[id]
	delete(t.byID, id)
	t.mu.Unlock()
	if w == nil {
		return false
	}
	t.notify.Add(func() { w.fn(Terminated{Who: w.ref, Reason: reason}) })
	return true
}

// remove takes a watch back, and says so to the other side.
func (t *Watches) remove(w *watch) {
	t.mu.Lock()
	_, live := t.byID[w.id]
	delete(t.byID, w.id)
	t.mu.Unlock()
	switch {
	case !live:
	case w.loop != nil:
		w.unhook()
	default:
		t.sendUnwatch(w.ref.Address().Node, w.id)
	}
}

func (t *Watches) sendUnwatch(node string, id uint64) {
	me := t.link.Self()
	t.link.Answer(node, &wire.Frame{Kind: wire.Unwatch, ID: id, From: me.Name, FromNumber: me.Number})
}

// Answered handles Result and Error when they answer a watch; false when they
// answer something else, or come from another node than the one that was asked.
func (t *Watches) Answered(f *wire.Frame, from string) bool {
	t.mu.Lock()
	w := t.byID[f.ID]
	if w == nil || w.loop != nil || w.ref.Address().Node != from {
		t.mu.Unlock()
		return false
	}
	w.acked = true
	if w.number == 0 {
		w.number, _ = t.members.Number(w.ref.Address().Node)
	}
	t.mu.Unlock()
	if f.Kind == wire.Error {
		t.end(f.ID, fault.FromFrame(w.ref.String(), "", f))
	}
	return true
}

// Terminated handles the notice of another node. It is acknowledged even when
// it is not wanted any more: it would be sent again.
func (t *Watches) Terminated(f *wire.Frame) {
	t.sendUnwatch(f.From, f.ID)
	t.mu.Lock()
	w := t.byID[f.ID]
	mine := w != nil && w.ref.Address().Node == f.From
	t.mu.Unlock()
	if mine {
		t.end(f.ID, fault.FromFrame(w.ref.String(), "", f))
	}
}

func (t *Watches) where(match func(*watch) bool) (out []*watch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range t.byID {
		if match(w) {
			out = append(out, w)
		}
	}
	return out
}

// NodeDown ends the watches of loops of a node that is gone.
func (t *Watches) NodeDown(node string, number uint64, why string) {
	for _, w := range t.where(func(w *watch) bool {
		return w.loop == nil && w.ref.Address().Node == node && (w.number == number || w.number == 0 && !w.acked)
	}) {
		t.end(w.id, fault.New(w.ref.String(), "", fault.ErrNodeDown, why))
	}
}

// Unreachable handles NATS's "nobody is there" for a watch. It returns the node
// that it is about; false when the token is of something else.
func (t *Watches) Unreachable(token string) (node string, ok bool) {
	return strings.CutPrefix(token, watchToken)
}

// Absent ends the watches of a node that is not even a member.
func (t *Watches) Absent(node string) {
	if _, member := t.members.Number(node); member {
		return // its death is found out in the ordinary way
	}
	for _, w := range t.where(func(w *watch) bool { return w.loop == nil && w.ref.Address().Node == node }) {
		t.end(w.id, fault.New(w.ref.String(), "", fault.ErrUnknownNode, "nobody listens under that name"))
	}
}

// Nodes are those with a watched loop.
func (t *Watches) Nodes() []string {
	var out []string
	for _, w := range t.where(func(w *watch) bool { return w.loop == nil }) {
		out = append(out, w.ref.Address().Node)
	}
	return out
}

// Unacknowledged is how many watches the other side has not acknowledged.
func (t *Watches) Unacknowledged() int {
	return len(t.where(func(w *watch) bool { return w.loop == nil && !w.acked }))
}

// Len is how many watches have not ended.
func (t *Watches) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.byID)
}

// Resend repeats what was not acknowledged.
func (t *Watches) Resend(now time.Time) {
	for _, w := range t.where(func(w *watch) bool {
		return w.loop == nil && !w.acked && now.Sub(w.sent) >= t.again
	}) {
		t.send(w, now)
	}
}

// Reconnected makes Resend repeat every watch: the connection was lost in between.
func (t *Watches) Reconnected() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range t.byID {
		w.acked, w.sent = false, time.Time{}
	}
}

// Clear forgets all watches.
func (t *Watches) Clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.byID)
}
