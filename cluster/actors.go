package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/internal/guard"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// Actors is the actor system that other nodes reach through this node: the one
// of Config.Actors, or one made for the node. What an actor here sends to an
// address of another node travels at most once, and in order from one actor to
// another; its type is registered with Message. Loops made by NewLoop belong to it.
func (n *Node) Actors() *actors.System { return n.actors }

// adopt ties the actor system to the node.
func (n *Node) adopt() error {
	n.actors = n.cfg.Actors
	if n.actors == nil {
		n.actors = actors.New(actors.Options{Logger: n.log.Named("actors")})
	}
	if node, _, ok := n.actors.Identity(); ok {
		return badConfig("Actors is the system of node %s already: give each node its own", node)
	}
	n.actors.Identify(n.name, n.number)
	n.actors.RouteRemote(n.route)
	return nil
}

const actorsLimit = time.Second // how long actors on loops that others run may take to end

// releaseActors takes the system off the node; one that was made for it ends.
func (n *Node) releaseActors() {
	n.actors.RouteRemote(nil)
	n.actors.Identify("", 0)
	if n.cfg.Actors != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), actorsLimit)
	defer cancel()
	if err := n.actors.Shutdown(ctx); err != nil {
		n.log.Warn("actors of a closed node are left", "error", err)
	}
}

// route sends a message of an actor here to an actor elsewhere (actors.Route).
func (n *Node) route(to actors.Address, msg any, sender actors.Ref) error {
	f := &wire.Frame{Kind: wire.Tell}
	if err := messages.write(f, msg); err != nil {
		return err
	}
	if !sender.IsZero() {
		f.Sender = n.actors.Export(sender).String()
	}
	if err := n.address(to, f); err != nil {
		return err
	}
	if err := n.post(to.Node, f); err != nil {
		return fmt.Errorf("%s: %w", to, err)
	}
	if _, watch := msg.(actors.WatchRequest); watch {
		n.members.depend(to.Node)
	}
	n.stats.tellsOut.Add(1)
	return nil
}

// told takes a message of an actor elsewhere. Receiving goroutine.
func (n *Node) told(f *wire.Frame) {
	n.stats.tellsIn.Add(1)
	var err error
	if p := guard.Call(func() { err = n.deliver(f) }); p != nil {
		err = p // a type's own UnmarshalJSON
	}
	if err == nil {
		return
	}
	n.stats.tellsFailed.Add(1)
	if ok, more := n.quiet.tells.allow(time.Now().UnixNano()); ok {
		n.log.Warn("a message of another node reached nobody", "message", f.Function, "to", f.Path, "from", f.From, "error", err, "kept_back", more)
	}
}

func (n *Node) deliver(f *wire.Frame) error {
	sender, err := senderOf(f)
	if err != nil {
		return err
	}
	msg, err := messages.read(f, sender)
	if err != nil {
		return n.actors.Reject(sender, err)
	}
	if f.Incarnation != 0 && f.Incarnation != n.number {
		return n.actors.Reject(sender, codef(wire.DeadIncarnation, "%w: the address means incarnation %d, the node lives as %d", ErrDeadIncarnation, f.Incarnation, n.number))
	}
	return n.actors.Deliver(actors.Address{Node: n.name, Incarnation: f.Incarnation, Path: f.Path}, msg, sender)
}

// senderOf is who sent the message: an actor of the sending node, or, when it
// was forwarded, of a third one.
func senderOf(f *wire.Frame) (actors.Ref, error) {
	if f.Sender == "" {
		return actors.Ref{}, nil
	}
	a, err := actors.Parse(f.Sender)
	if err != nil {
		return actors.Ref{}, err
	}
	if !validName(a.Node) || a.Incarnation == 0 {
		return actors.Ref{}, codef(wire.Refused, "%w: %q is no sender on a node", ErrRefused, f.Sender)
	}
	return actors.RefOf(a), nil
}
