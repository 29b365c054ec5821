package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/groups"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
	"github.com/loopmesh/loopmesh/transportactors/handover"
)

// config is what the command line says.
type config struct {
	address  string // of clients
	tls      *tls.Config
	origins  []string // whose pages may connect, besides this gateway's own
	handover string   // path at which a newer process takes over; "": none does
	limits   limits
	// user says who a request is from: the place for cookies, tokens and the like. An error
	// is answered 401, with its text.
	user func(*http.Request) (string, error)
}

// loopName is the loop of the gateway on every node.
const loopName = "gateway"

// gateways is the gateway of each loop that has one.
var gateways loopnode.PerLoop[*gateway]

// gateway is the clients of one node. Owned by its loop.
type gateway struct {
	cfg    config
	limits limits
	node   *cluster.Node
	loop   *loopnode.Loop
	out    io.Writer
	server *transportactors.Server
	offer  *handover.Offer // nil: no newer process can take over
	until  time.Time       // not zero: the node is going away, and is closed then

	conns   int // connections, whatever they are about
	refused int
	users   map[string]*client
	rooms   map[string]*audience
	watched map[string]*watched
}

// open starts the gateway of a node. It returns when clients can connect.
func open(ctx context.Context, node *cluster.Node, cfg config, out io.Writer) (*gateway, error) {
	ref, err := node.NewLoop(loopName)
	if err != nil {
		return nil, err
	}
	l, _ := ref.Local()
	g := &gateway{
		cfg: cfg, limits: cfg.limits, node: node, loop: l, out: out,
		users: map[string]*client{}, rooms: map[string]*audience{}, watched: map[string]*watched{},
	}
	_, err = loopnode.CreateTask(l.Context(ctx), "open gateway", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, g.begin(ctx)
	}).Await(ctx)
	return g, err
}

// begin takes part in the cluster first, then takes the clients: those that connect meanwhile
// wait in the queue of the listening socket.
func (g *gateway) begin(ctx context.Context) error {
	if _, err := g.node.OnEvents(g.loop, g.nodeEvent); err != nil {
		return err
	}
	sub, err := arrivals.Subscribe(g.node, g.loop.Ref(), g.arrived)
	if err == nil {
		err = sub.Ready(ctx)
	}
	if err != nil {
		return err
	}
	if err := gateways.Set(g.loop, g); err != nil {
		return err
	}
	g.online("") // the first question of a node has it listen to what the others have
	g.lookAgain()
	return g.listen(ctx)
}

// listen serves at the sockets of the process before, or of the service manager, or at its
// own address, and then lets the process before go.
func (g *gateway) listen(ctx context.Context) error {
	in, err := handover.Inherit(ctx, g.cfg.handover)
	if err != nil {
		return err
	}
	defer in.Close()
	network, at, socket := in.Address("clients", "tcp", g.cfg.address)
	opts := []transportactors.ServerOption{socket, transportactors.WithBacklog(4096), transportactors.WithWriteLimit(g.limits.output)}
	if g.cfg.tls != nil {
		opts = append(opts, transportactors.WithTLS(g.cfg.tls), transportactors.WithHandshakeTimeout(g.limits.handshake))
	}
	g.server, err = transportactors.CreateServer(ctx, func() *visitor { return &visitor{g: g} }, network, at, opts...)
	if err != nil {
		return err
	}
	if err := in.Serving(ctx); err != nil {
		return err
	}
	if g.cfg.handover != "" {
		g.offer, err = handover.Open(ctx, g.cfg.handover, map[string]*transportactors.Server{"clients": g.server})
	}
	return err
}

// enter makes the client the one of its user, here and in the whole cluster.
func (g *gateway) enter(c *client) (err error) {
	if c.hold, err = groups.Hold(g.node, userKey(c.user)); err != nil {
		return fmt.Errorf("the user cannot be made known: %w", err)
	}
	if old := g.users[c.user]; old != nil {
		old.close(statusReplaced, replaced)
	}
	g.users[c.user] = c
	g.lookAt(c.user)
	return arrivals.Publish(g.node, arrival{c.user, c.since})
}

// leave forgets a client. reason is why its connection was lost; nil: it was closed in order.
func (g *gateway) leave(c *client, reason error) {
	if reason != nil {
		fmt.Fprintf(g.out, "%v was lost: %v\n", c, reason)
	}
	c.release()
	for room := range c.rooms {
		c.leaveRoom(room)
	}
	for user := range c.watches {
		c.unwatch([]string{user})
	}
	if g.users[c.user] == c {
		delete(g.users, c.user)
	}
	g.lookAt(c.user)
}

// goAway says that the node is going to drain: clients that come in the last moment are
// sent away as well.
func (g *gateway) goAway(until time.Time) error {
	return g.loop.Ref().CallSoonThreadsafe(func() { g.until = until })
}

// replaced is closed when a newer process has taken over; nil: none can.
func (g *gateway) replaced() <-chan struct{} {
	if g.offer == nil {
		return nil
	}
	return g.offer.Replaced()
}

// queryUser takes the user from the address: anybody may be anybody. It is for trials.
func queryUser(r *http.Request) (string, error) {
	user := r.URL.Query().Get("user")
	if !name.MatchString(user) {
		return "", errors.New("say who you are: /ws?user=NAME, of 1 to 64 letters, digits, dots and dashes")
	}
	return user, nil
}
