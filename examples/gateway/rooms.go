package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/loopmesh/loopmesh/cluster/topics"
	"github.com/loopmesh/loopmesh/loopnode"
)

// line is what somebody says in a room.
type line struct {
	From string `json:"from"`
	Text string `json:"text"`
}

// audience is the clients of this node in a room. A topic brings a line to the node once; its
// frame is made once and written to each of them. Owned by the loop.
type audience struct {
	sub     *topics.Subscription
	members map[*client]struct{}
}

func topicOf(room string) topics.Topic[line] { return topics.Named[line]("gateway.room." + room) }

var errNoRoom = errors.New("a room has a name of 1 to 64 letters, digits, dots and dashes")

// say publishes a line to a room. nil says that it was published: who is in the room and
// reads gets it, at most once.
func (c *client) say(r request) error {
	if !name.MatchString(r.Room) {
		return errNoRoom
	}
	return topicOf(r.Room).Publish(c.g.node, line{From: c.user, Text: r.Text})
}

// enterRoom lets the client hear a room, and tells it when it does.
func (c *client) enterRoom(room string) {
	_, in := c.rooms[room]
	a, err := c.g.audienceOf(room)
	switch {
	case err == nil && !in && len(c.rooms) >= c.g.limits.rooms:
		err = fmt.Errorf("you are in %d rooms, which is the most", len(c.rooms))
		c.g.tidy(room)
	case err == nil:
		c.rooms[room], a.members[c] = struct{}{}, struct{}{}
	}
	if err != nil {
		c.tell(event{Is: "refused", Room: room, Why: err.Error()})
		return
	}
	loopnode.CreateTask(c.ctx, "joining "+room, func(ctx context.Context) (struct{}, error) {
		if err := a.sub.Ready(ctx); err == nil && !c.over() { // a node that is cut off says it later, by missed
			c.tell(event{Is: "joined", Room: room})
		}
		return struct{}{}, nil
	})
}

func (c *client) leaveRoom(room string) {
	delete(c.rooms, room)
	delete(c.missed, room)
	if a := c.g.rooms[room]; a != nil {
		delete(a.members, c)
		c.g.tidy(room)
	}
}

// audienceOf is that of a room. The first client of this node in it subscribes.
func (g *gateway) audienceOf(room string) (*audience, error) {
	if a := g.rooms[room]; a != nil {
		return a, nil
	}
	switch {
	case !name.MatchString(room):
		return nil, errNoRoom
	case len(g.rooms) >= g.limits.allRooms:
		return nil, fmt.Errorf("this node has clients in %d rooms, which is the most", len(g.rooms))
	}
	a := &audience{members: map[*client]struct{}{}}
	var err error
	a.sub, err = topicOf(room).Subscribe(g.node, g.loop.Ref(), func(m topics.Message[line]) {
		a.hear(room, event{Is: "line", Room: room, From: m.Value.From, Text: m.Value.Text})
	}, topics.OnGap(func(gap topics.Gap) {
		a.hear(room, event{Is: "missed", Room: room, Count: gap.Missed})
	}))
	if err != nil {
		return nil, err
	}
	g.rooms[room] = a
	return a, nil
}

// hear writes an event to the clients of the room. One that does not read misses it, and is
// told how much it missed; nobody waits for it.
func (a *audience) hear(room string, e event) {
	frame := e.frame()
	for c := range a.members {
		if c.slow != nil {
			c.missed[room] += max(e.Count, 1)
			continue
		}
		_ = c.t.Write(frame) // a connection that is lost tells its protocol
	}
}

// tidy ends the subscription of a room that nobody here is in.
func (g *gateway) tidy(room string) {
	if a := g.rooms[room]; a != nil && len(a.members) == 0 {
		a.sub.Cancel()
		delete(g.rooms, room)
	}
}
