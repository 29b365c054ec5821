// Package chat is the service that a development cluster serves: a line that a
// client types on one node reaches the clients of all nodes.
package chat

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
	"github.com/loopmesh/loopmesh/transportactors/framing"
	"github.com/loopmesh/loopmesh/transportactors/handover"
)

// How a line travels: DataReceived on the loop of one client → broadcast posts
// "chat.say" to the loop "chat" of every member, its own included → deliver writes to
// the clients there. A room holds clients of its own node only; nothing is kept of a
// line.
//
// Nobody waits for anybody. A client that reads too slowly misses lines, and is told
// how many; a node that does not take lines (no credit, no connection) is named to
// the clients here. So no peer and no node can make a room's memory grow: a client
// costs at most one unfinished line, one read and its transport's write buffer. A line of more
// than 4096 bytes is not said: the client is told so, and its connection is closed.

// LoopName is the loop that holds the clients of a node.
const LoopName = "chat"

// maxLine bounds what a client can make a room keep, and so what one line costs each
// client of each node.
const maxLine = 4096

// linesAtOnce is how many lines of one client are said in one turn of the loop. Why:
// a read may bring a hundred thousand, each goes to every client of every node, and
// nobody else would be heard meanwhile. The rest waits, and so does what comes next.
const linesAtOnce = 8

// line is what travels between the rooms.
type line struct {
	From string `json:"from"`
	Text string `json:"text"`
}

// say delivers a line to the clients of the room it is called on.
var say = cluster.Func("chat.say", func(ctx context.Context, in line) (int, error) {
	r, err := rooms.From(ctx)
	switch {
	case err != nil:
		return 0, err
	case r == nil:
		return 0, errors.New("chat: this loop has no room")
	}
	return r.deliver(in), nil
})

// rooms is the room of each loop that has one: a registered function is one value for
// the whole process, which may run several nodes, and knows its loop from ctx only.
var rooms loopnode.PerLoop[*Room]

// Room is the chat of one node. Owned by the goroutine of its loop: clients come and
// go there, and a line of another node is delivered by a task on it, so the map needs
// no lock.
type Room struct {
	node    *cluster.Node
	server  *transportactors.Server
	clients map[*client]struct{}
}

// Open starts a room on a loop of its own at address: host:port, or fd://NAME for a socket of
// the service manager. It waits until clients can connect. The room ends with its node.
func Open(ctx context.Context, node *cluster.Node, address string) (*Room, error) {
	ref, err := node.NewLoop(LoopName)
	if err != nil {
		return nil, err
	}
	l, _ := ref.Local()
	return loopnode.CreateTask(l.Context(ctx), "open room", func(ctx context.Context) (*Room, error) {
		r := &Room{node: node, clients: map[*client]struct{}{}}
		network, at, socket, err := handover.At("tcp", address)
		if err != nil {
			return nil, err
		}
		s, err := transportactors.CreateServer(ctx, func() transportactors.Protocol { return newClient(r) }, network, at, socket)
		if err != nil {
			return nil, err
		}
		r.server = s
		return r, rooms.Set(l, r)
	}).Await(ctx)
}

// Address is where clients connect.
func (r *Room) Address() string { return r.server.Addrs()[0].String() }

// deliver writes a line to every client that keeps up, and counts it for the others.
// It returns how many got it.
func (r *Room) deliver(in line) (n int) {
	text := []byte(in.From + ": " + in.Text + "\n")
	for c := range r.clients {
		if c.slow {
			c.missed++
			continue
		}
		if c.t.Write(text) == nil {
			n++
		}
	}
	return n
}

// broadcast posts a line to the rooms of all nodes. It must not wait, since it runs
// in a callback of the loop: TryCallSoon refuses at once when the other loop does not
// keep up.
func (r *Room) broadcast(in line) {
	for _, m := range r.node.Members() {
		ref, err := r.node.Ref(m.Name + "/" + LoopName)
		if err == nil {
			err = say.Via(r.node).TryCallSoon(context.Background(), ref, in)
		}
		if err != nil {
			r.deliver(line{From: "*", Text: fmt.Sprintf("%s was not reached: %v", m.Name, err)})
		}
	}
}

// client is one connection: a protocol.
type client struct {
	room   *Room
	t      transportactors.Transport
	name   string
	lines  *framing.Buffer // keeps what is not said yet: a part of a line, or of a read
	slow   bool            // reads less than is said; it misses lines, nobody waits for it
	missed int
}

func newClient(r *Room) *client {
	const end = len("\r\n")
	return &client{room: r, lines: framing.New(framing.Lines(maxLine), maxLine+end)}
}

// ConnectionMade enters the client and greets it. A name is the node's and the
// address of the client, unique while the connection lives.
func (c *client) ConnectionMade(t transportactors.Transport) {
	c.t = t
	c.name = fmt.Sprintf("%s %v", c.room.node.Name(), t.ExtraInfo("peername"))
	c.room.clients[c] = struct{}{}
	c.notify("you are " + c.name + "; what you type reaches the clients of all nodes")
}

// DataReceived says the lines that are complete.
func (c *client) DataReceived(b []byte) { c.talk(b) }

// talk says complete lines, at most linesAtOnce; all: no more of them wait. A line
// that is too long is the end: what comes behind it is not looked at.
func (c *client) talk(b []byte) (all bool) {
	said := 0
	for text, err := range c.lines.Packets(b) {
		switch {
		case c.t.IsClosing():
			return true
		case err != nil:
			c.notify(fmt.Sprintf("your line is too long, nobody got it: a line has at most %d bytes; good bye", maxLine))
			c.t.Close()
		case len(text) > 0:
			c.room.broadcast(line{From: c.name, Text: string(text)})
		}
		if said++; said == linesAtOnce {
			_ = c.t.PauseReading() // a closing transport reads nothing anyway
			c.t.Loop().CallSoon(c.talkOn)
			return false
		}
	}
	return true
}

// talkOn is talk in a later turn. Why a connection that is lost is read again as well: its
// end comes behind what it has sent, which nobody would ask for.
func (c *client) talkOn() {
	if c.t.IsClosing() || c.talk(nil) {
		_ = c.t.ResumeReading() // the same
	}
}

// ConnectionLost forgets the client. Its unfinished line is not said.
func (c *client) ConnectionLost(error) { delete(c.room.clients, c) }

// PauseWriting comes when the transport's buffer is above its high water mark: the
// client does not read. Its lines are counted from now on, not written.
func (c *client) PauseWriting() { c.slow = true }

// ResumeWriting tells how much it missed.
func (c *client) ResumeWriting() {
	c.slow = false
	if c.missed > 0 {
		c.notify(fmt.Sprintf("you missed %d lines", c.missed))
		c.missed = 0
	}
}

// GoingAway tells the client that its node drains, and closes the connection behind it: it
// has nothing under way that could be waited for. One that does not read is cut off a
// second later, or the drain would wait for it to the end.
func (c *client) GoingAway(until time.Time) {
	c.notify("this node is going away; connect to another one")
	c.t.Close()
	c.t.Loop().CallLater(min(time.Second, time.Until(until)), c.t.Abort)
}

// notify writes to this client alone. A client that is gone needs no word:
// ConnectionLost follows.
func (c *client) notify(text string) { _ = c.t.Write([]byte("* " + text + "\n")) }
