package main

import (
	"time"

	"github.com/loopmesh/loopmesh/cluster/events"
	"github.com/loopmesh/loopmesh/cluster/groups"
	"github.com/loopmesh/loopmesh/cluster/topics"
)

// Who is online? Each node holds a key for each of its users (groups.Hold), every node knows
// the keys of the others, and those of a dead node go when its death is known. Where asks
// nobody, so the users that somebody here watches are looked at every half second, and at
// once when a node is lost or when a user comes or goes here.

const lookEvery = 500 * time.Millisecond

func userKey(user string) string { return "gateway.user." + user }

// watched is a user that clients of this node watch. Owned by the loop.
type watched struct {
	online bool // as they were told
	by     map[*client]struct{}
}

// watch tells the client who of the users is online, and each change from then on.
func (c *client) watch(users []string) {
	for _, user := range users {
		w := c.g.watched[user]
		switch {
		case !name.MatchString(user):
			c.tell(event{Is: "refused", User: user, Why: "that is not the name of a user"})
			continue
		case len(c.watches) >= c.g.limits.watches:
			c.tell(event{Is: "refused", User: user, Why: "you watch as many users as you may"})
			continue
		case w == nil && len(c.g.watched) >= c.g.limits.watched:
			c.tell(event{Is: "refused", User: user, Why: "this node watches as many users as it may"})
			continue
		case w == nil:
			w = &watched{online: c.g.online(user), by: map[*client]struct{}{}}
			c.g.watched[user] = w
		}
		c.watches[user], w.by[c] = struct{}{}, struct{}{}
		c.tell(presenceOf(user, w.online))
	}
}

func (c *client) unwatch(users []string) {
	for _, user := range users {
		delete(c.watches, user)
		if w := c.g.watched[user]; w != nil {
			if delete(w.by, c); len(w.by) == 0 {
				delete(c.g.watched, user)
			}
		}
	}
}

func presenceOf(user string, online bool) event {
	return event{Is: "presence", User: user, Online: &online}
}

func (g *gateway) online(user string) bool {
	_, ok := groups.Where(g.node, userKey(user))
	return ok
}

// lookAt tells who watches a user when that one has come or gone.
func (g *gateway) lookAt(user string) {
	w := g.watched[user]
	if w == nil {
		return
	}
	if now := g.online(user); now != w.online {
		w.online = now
		for c := range w.by {
			c.tell(presenceOf(user, now))
		}
	}
}

// lookAtAll looks at everybody who is watched.
func (g *gateway) lookAtAll() {
	for user := range g.watched {
		g.lookAt(user)
	}
}

// lookAgain looks now and every half second.
func (g *gateway) lookAgain() {
	g.lookAtAll()
	g.loop.CallLater(lookEvery, g.lookAgain)
}

// nodeEvent looks at everybody when a node has gone. Why a moment later: the presence of
// the cluster hears of it from the same event, and may hear it after this one.
func (g *gateway) nodeEvent(e events.Event) {
	if e.Kind == events.Dead || e.Kind == events.Left {
		g.loop.CallLater(20*time.Millisecond, g.lookAtAll)
	}
}

// arrival says that a user has connected. All nodes hear it, and one that has an older
// connection of the user ends that: the newer one counts. Of two that came in the same
// nanosecond the node's name decides.
type arrival struct {
	User  string `json:"user"`
	Since int64  `json:"since"`
}

var arrivals = topics.Named[arrival]("gateway.arrivals")

func (g *gateway) arrived(m topics.Message[arrival]) {
	c := g.users[m.Value.User]
	if c == nil || m.Node == g.node.Name() {
		return
	}
	if c.since < m.Value.Since || c.since == m.Value.Since && g.node.Name() < m.Node {
		c.close(statusReplaced, replaced)
	}
}

// A client that hears this does not connect again: another one of its user has.
const (
	statusReplaced = 4001
	replaced       = "the user has connected somewhere else"
)
