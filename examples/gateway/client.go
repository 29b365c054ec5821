package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/gobwas/ws"

	"github.com/loopmesh/loopmesh/cluster/groups"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

// client is a connection behind its handshake: a protocol that speaks WebSocket. What its
// messages mean is in requests.go. Owned by the loop.
//
// When is it not read? While it has as many messages under way as it may, while it is
// faster than it may, and while it does not read itself. Then the kernel holds what it sends,
// and at last the client does. One that goes away meanwhile is missed when a ping fails.
type client struct {
	g      *gateway
	t      transportactors.Transport
	ctx    context.Context // of its messages under way; ends with the connection
	cancel context.CancelFunc
	user   string
	since  int64 // when it came, in nanoseconds: of two connections of a user the newer one counts
	hold   *groups.Presence
	frames *frames

	heard  bool                  // since the last ping
	beat   *loopnode.TimerHandle // the next ping
	slow   *loopnode.TimerHandle // not nil: it does not read
	away   *loopnode.TimerHandle // not nil: it is sent away then
	rest   *loopnode.TimerHandle // not nil: it was too fast, and is read again then
	budget budget
	posts  int // its messages that are under way

	receipts receipts
	rooms    map[string]struct{}
	missed   map[string]uint64 // lines of rooms, while it did not read
	watches  map[string]struct{}
}

// Why a connection was cut off. Who watches it is told, and the log says so.
var (
	errSlowReader = errors.New("the client does not read what it is sent")
	errSilent     = errors.New("the client does not answer pings")
)

func newClient(g *gateway, t transportactors.Transport, user string) *client {
	c := &client{
		g: g, t: t, user: user, since: time.Now().UnixNano(), frames: newFrames(g.limits.message), heard: true,
		budget: budget{rate: g.limits.rate}, receipts: receipts{}, rooms: map[string]struct{}{}, missed: map[string]uint64{}, watches: map[string]struct{}{},
	}
	c.ctx, c.cancel = context.WithCancel(t.Context())
	return c
}

// begin enters the client. rest came behind its handshake.
func (c *client) begin(rest []byte) {
	c.t.SetProtocol(c)
	if err := c.g.enter(c); err != nil {
		c.close(ws.StatusCode(1013), err.Error()) // try again later
		return
	}
	c.tell(event{Is: "welcome", User: c.user, Node: c.g.node.Name()})
	c.ping()
	if until := c.g.until; !until.IsZero() {
		c.GoingAway(until) // it came in the last moment
	}
	if !c.over() {
		c.read(rest)
	}
}

// DataReceived takes messages until one has to wait.
func (c *client) DataReceived(data []byte) {
	c.heard = true
	if !c.over() {
		c.read(data)
	}
}

// read takes what has come. When the client has to wait, what is left stays in frames.
func (c *client) read(data []byte) {
	for m, err := range c.frames.take(data) {
		if c.take(m, err); c.over() {
			return
		}
		if pause, must := c.mustWait(); must {
			c.stop(pause)
			return
		}
	}
	_ = c.t.ResumeReading()
}

// take does what one message asks for.
func (c *client) take(m message, err error) {
	v := violation{}
	switch {
	case errors.As(err, &v):
		c.close(v.code, v.why)
	case m.op == ws.OpText:
		c.budget.spend()
		c.obey(m.data)
	case m.op == ws.OpPing:
		c.budget.spend()
		_ = c.t.Write(compiled(ws.NewPongFrame(m.data)))
	case m.op == ws.OpPong:
		c.budget.spend()
	case m.op == ws.OpClose:
		v = closing(m.data)
		c.close(v.code, v.why)
	default:
		c.close(ws.StatusUnsupportedData, "messages are text")
	}
}

// over reports whether the connection belongs to somebody else already.
func (c *client) over() bool { return c.t.Protocol() != any(c) || c.t.IsClosing() }

// mustWait says whether the client has to wait before its next message is taken, and for how
// long if the clock decides. The clock is asked once: a wait that was over at a second look
// would have nobody to end it.
func (c *client) mustWait() (pause time.Duration, must bool) {
	pause = c.budget.wait()
	return pause, pause > 0 || c.slow != nil || c.posts >= c.g.limits.posts
}

// stop stops reading. Whatever is waited for calls goOn when it ends: the pause, ResumeWriting, or
// the end of a message that is under way.
func (c *client) stop(pause time.Duration) {
	_ = c.t.PauseReading()
	if pause > 0 && c.rest == nil {
		c.rest = c.t.Loop().CallLater(pause, func() {
			c.rest = nil
			c.goOn()
		})
	}
}

// goOn reads again, beginning with what has come already. Of a connection that is lost the
// end comes behind what it has sent, so that is read, too, and thrown away.
func (c *client) goOn() {
	switch {
	case c.t.Protocol() != any(c):
	case c.t.IsClosing():
		_ = c.t.ResumeReading()
	default:
		if pause, must := c.mustWait(); must {
			c.stop(pause)
			return
		}
		c.read(nil)
	}
}

// PauseWriting comes when more waits for the client than it should: it has some time to
// read again. What must not wait meanwhile is refused (receipts) or left out (rooms), and
// the rest is bounded by the output limit of the connection.
func (c *client) PauseWriting() {
	c.slow = c.t.Loop().CallLater(c.g.limits.slow, func() { c.fail(errSlowReader) })
	_ = c.t.PauseReading()
}

// ResumeWriting tells what it has missed.
func (c *client) ResumeWriting() {
	c.slow.Cancel()
	c.slow = nil
	for room, n := range c.missed {
		delete(c.missed, room)
		c.tell(event{Is: "missed", Room: room, Count: n})
	}
	c.goOn()
}

// fail cuts the connection off: ConnectionLost has the reason.
func (c *client) fail(reason error) { _ = c.t.Ref().Fail(reason) }

// ping asks whether the client is there, again and again. Whatever it sends is an answer; a
// client that is not read right now has given its answer before.
func (c *client) ping() {
	if !c.heard && c.t.IsReading() {
		c.fail(errSilent)
		return
	}
	c.heard = false
	if c.t.Write(ws.CompiledPing) != nil {
		c.goOn() // it is lost, and was not read
	}
	c.beat = c.t.Loop().CallLater(c.g.limits.ping, c.ping)
}

// GoingAway sends the client away, to another node, before the time is over. Each one
// waits for a time of its own: thousands that come back at once would be too much for the
// node that they come to.
func (c *client) GoingAway(until time.Time) {
	if c.away != nil {
		return
	}
	most := min(c.g.limits.spread, time.Until(until)-c.g.limits.farewell)
	var pause time.Duration
	if most > 0 {
		pause = rand.N(most)
	}
	c.away = c.t.Loop().CallLater(pause, func() { c.close(ws.StatusGoingAway, "this node is going away; connect again") })
}

// close ends the connection with a Close frame. It leaves the gateway at once: nothing
// more is sent to it.
func (c *client) close(code ws.StatusCode, why string) {
	if c.over() {
		return
	}
	c.g.leave(c, nil)
	c.g.end(c.t, closeFrame(violation{code, why}))
}

// ConnectionLost comes when nobody has said Close.
func (c *client) ConnectionLost(reason error) {
	c.g.leave(c, reason)
	c.g.conns--
}

// release ends what belongs to the connection: timers, messages under way, receipts.
func (c *client) release() {
	for _, t := range []*loopnode.TimerHandle{c.beat, c.slow, c.away, c.rest} {
		if t != nil {
			t.Cancel()
		}
	}
	c.cancel()
	c.receipts.fail(errNotHere)
	if c.hold != nil {
		c.hold.Release()
	}
}

func (c *client) String() string { return fmt.Sprintf("%s at %v", c.user, c.t.RemoteAddr()) }

// budget is how many messages a client may send: a second's worth at once, and as many in
// each second. The zero value has spent nothing.
type budget struct {
	rate int
	full time.Time // when nothing will be spent any more
}

// spend takes one message.
func (b *budget) spend() {
	now := time.Now()
	if b.full.Before(now) {
		b.full = now
	}
	b.full = b.full.Add(time.Second / time.Duration(b.rate))
}

// wait is how long the client has to wait before its next message, 0 for not at all.
func (b *budget) wait() time.Duration {
	if over := time.Now().Add(time.Second); b.full.After(over) {
		return b.full.Sub(over)
	}
	return 0
}
