package cluster

import (
	"context"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster/internal/registry"
	"github.com/loopmesh/loopmesh/cluster/internal/streams"
	"github.com/loopmesh/loopmesh/internal/wire"
	"github.com/loopmesh/loopmesh/transportactors"
)

// TransportRef is a connection of this process that any goroutine may command.
// None of its methods waits, and Write keeps no slice.
type TransportRef = streams.TransportRef

// TransportDirectory finds a connection of this process by its address; only the
// path counts. Any goroutine.
type TransportDirectory = streams.Directory

// TransportLookup is a function as a TransportDirectory.
type TransportLookup func(addr actors.Address) (TransportRef, bool)

// Lookup calls the function.
func (f TransportLookup) Lookup(addr actors.Address) (TransportRef, bool) { return f(addr) }

// processTransports finds the connections of package transportactors.
func processTransports(addr actors.Address) (TransportRef, bool) { return transportactors.Lookup(addr) }

// SetTransports says where connections are found that other nodes write to,
// close or abort. With nil every such request is ErrUnknownTransport.
func (n *Node) SetTransports(d TransportDirectory) { n.streams.SetDirectory(d) }

// RemoteTransport is a connection on any node of the cluster. Comparable.
type RemoteTransport struct {
	node *Node
	addr actors.Address
}

// Transport names the connection at an address such as
// "n1/io-0/srv:7000/c42". It sends nothing.
func (n *Node) Transport(address string) (RemoteTransport, error) {
	addr, err := actors.Parse(address)
	if err != nil {
		return RemoteTransport{}, err
	}
	return n.TransportTo(addr), nil
}

// TransportTo is Transport for an address that has been read.
func (n *Node) TransportTo(addr actors.Address) RemoteTransport { return RemoteTransport{n, addr} }

// Address is where the connection is.
func (t RemoteTransport) Address() actors.Address { return t.addr }

// Write hands data to the connection and waits until its node has taken it, at
// most once: nil means that it is in the connection's write buffer. Data above
// Config.MaxPayload is ErrTooLarge: write it in pieces. Other errors:
// ErrUnknownTransport, what the connection says, and those of Function.Call.
func (t RemoteTransport) Write(ctx context.Context, data []byte) error {
	return t.do(ctx, wire.Write, data)
}

// Close closes the connection after what was written, and waits until its node
// has taken the order.
func (t RemoteTransport) Close(ctx context.Context) error { return t.do(ctx, wire.Close, nil) }

// Abort closes the connection at once, and waits until its node has taken the order.
func (t RemoteTransport) Abort(ctx context.Context) error { return t.do(ctx, wire.Abort, nil) }

func (t RemoteTransport) do(ctx context.Context, op wire.Op, data []byte) error {
	if ctx == nil {
		return badConfig("an operation on a connection needs a ctx, not nil")
	}
	return t.node.streams.Do(ctx, t.addr, op, data)
}

// RegisterMessage lets actors of different nodes send each other values of type T. Both
// programs register it under the same name, usually once per package:
//
//	var _ = cluster.RegisterMessage[Tick]("clock.tick")
//
// T travels as JSON, []byte as it is; a value that is to arrive as a pointer is
// registered as a pointer. It panics when the name or the type is taken, like
// http.Handle. What it returns means nothing.
func RegisterMessage[T any](name string) struct{} { return registry.AddMessage[T](name) }

// Actors is the actor system that other nodes reach through this node: the one
// of Config.Actors, or one made for the node. What an actor here sends to an
// address of another node travels at most once, and in order from one actor to
// another; its type is registered with Message. Loops made by NewLoop belong to it.
func (n *Node) Actors() *actors.System { return n.actors }

// adopt gives the actor system of a node: the configured one, or a new one.
func adopt(sys *actors.System, log hclog.Logger) (*actors.System, error) {
	if sys == nil {
		var err error
		if sys, err = actors.New(actors.Options{Logger: log.Named("actors")}); err != nil {
			return nil, err
		}
	}
	if node, _, ok := sys.Identity(); ok {
		return nil, badConfig("Actors is the system of node %s already: give each node its own", node)
	}
	return sys, nil
}

const actorsLimit = time.Second // how long actors on loops that others run may take to end

// releaseActors takes the system off the node; one that was made for it ends.
func (n *Node) releaseActors() {
	n.actors.RouteRemote(nil)
	n.actors.RouteWatches(nil)
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
