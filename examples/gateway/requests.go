package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"

	"github.com/gobwas/ws"

	"github.com/loopmesh/loopmesh/loopnode"
)

// request is what a client says, in JSON. The README tells what each one means.
type request struct {
	Do    string   `json:"do"`
	ID    string   `json:"id,omitempty"`
	To    string   `json:"to,omitempty"`
	From  string   `json:"from,omitempty"`
	Room  string   `json:"room,omitempty"`
	Text  string   `json:"text,omitempty"`
	Users []string `json:"users,omitempty"`
}

// event is what a client is told.
type event struct {
	Is     string `json:"is"`
	ID     string `json:"id,omitempty"`
	User   string `json:"user,omitempty"`
	From   string `json:"from,omitempty"`
	Room   string `json:"room,omitempty"`
	Node   string `json:"node,omitempty"`
	Text   string `json:"text,omitempty"`
	Why    string `json:"why,omitempty"`
	Online *bool  `json:"online,omitempty"`
	Count  uint64 `json:"count,omitempty"`
}

// frame is the event as it is sent.
func (e event) frame() []byte {
	text, err := json.Marshal(e)
	if err != nil {
		panic(err) // text, numbers and a bool can be written always
	}
	return textFrame(text)
}

// tell sends an event. A connection that is lost tells its protocol.
func (c *client) tell(e event) { _ = c.t.Write(e.frame()) }

// name is what users, rooms and messages are called.
var name = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// obey does what a text says.
func (c *client) obey(text []byte) {
	var r request
	if err := json.Unmarshal(text, &r); err != nil {
		c.close(ws.StatusPolicyViolation, "that is not a request in JSON: "+err.Error())
		return
	}
	switch r.Do {
	case "send":
		c.send(r)
	case "got":
		c.receipts.confirm(key(r.From, r.ID))
	case "say":
		c.answer(r.ID, c.say(r))
	case "join":
		c.enterRoom(r.Room)
	case "leave":
		c.leaveRoom(r.Room)
	case "watch":
		c.watch(r.Users)
	case "unwatch":
		c.unwatch(r.Users)
	default:
		c.close(ws.StatusPolicyViolation, fmt.Sprintf("nobody knows how to do %.20q", r.Do))
	}
}

// send gives a message to another client, wherever it is, in a task: the answer comes
// when that client has confirmed it.
func (c *client) send(r request) {
	if !name.MatchString(r.To) || !name.MatchString(r.ID) {
		c.answer(r.ID, errors.New("a message needs an id and somebody to go to, of 1 to 64 letters, digits, dots and dashes"))
		return
	}
	c.posts++
	loopnode.CreateTask(c.ctx, "message to "+r.To, func(ctx context.Context) (struct{}, error) {
		err := post(ctx, c.g.node, c.g.limits, parcel{From: c.user, To: r.To, ID: r.ID, Text: r.Text})
		c.posts--
		if !c.over() {
			c.answer(r.ID, err)
			c.goOn()
		}
		return struct{}{}, nil
	})
}

// answer says whether a message was accepted.
func (c *client) answer(id string, err error) {
	if err != nil {
		c.tell(event{Is: "nack", ID: id, Why: err.Error()})
		return
	}
	c.tell(event{Is: "ack", ID: id})
}
