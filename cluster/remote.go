package cluster

import (
	"context"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster/internal/registry"
	"github.com/loopmesh/loopmesh/cluster/internal/streams"
)

// RemoteTransport is a connection of any node of the cluster, for writing; what its peer
// sends goes to the protocol on the connection's own node. Node.Transport makes one. Any
// goroutine. Its methods, as those of transportactors.Transport unless said otherwise:
//
//	Write(p []byte) error                            // never waits; ErrNoCredit when the window is full
//	WriteWait(ctx context.Context, p []byte) error   // waits for room, also for more than the window
//	WriteEOF() error                                 // ends the output behind what was written
//	Drain(ctx context.Context) error                 // waits until the connection has taken all of it
//	WriteBufferSize() int                            // bytes accepted and not yet taken
//	PauseReading() error                             // the connection reads no more …
//	ResumeReading() error                            // … until this
//	Close()                                          // closes the connection behind what was written
//	Abort()                                          // closes it at once
//	Detach()                                         // ends the stream alone: the connection stays
//	IsClosing() bool                                 // from Close, Abort, Detach or the end on
//	Done() <-chan struct{}                           // closed when the stream is over
//	Err() error                                      // then: why; ErrClosed when it ended in good order
//	Address() actors.Address                         // where the connection is
//	SetProtocol(loop *loopnode.Loop, p any) error    // once; see below
//
// SetProtocol lets p, which has one or more of PauseWriting(), ResumeWriting() and
// ConnectionLost(error), hear on loop when to stop writing and how the connection ended:
// nil when this stream closed or aborted it. PauseWriting comes in a turn behind the
// Write that filled half of the window.
//
// What it has accepted and the connection has not taken is at most 1 MiB, wherever it
// is. A connection takes bytes when those before them have fallen to its low water
// mark, so a peer that reads slowly slows the writer: PauseWriting at half of it, then
// ErrNoCredit of Write; WriteWait waits. Bytes arrive in order and whole, or the
// connection is aborted (ErrLost) and both its protocol and the writer hear it.
type RemoteTransport = streams.Stream

// Transport begins a stream to the connection at an address such as
// "n1/io-0/transports/42". On the node of the connection t that is
// node.Actors().Export(t.Ref().Actor()).String(); 'loopmesh conn ls' shows it, too. It
// asks the connection's node and waits for the answer, as a
// call does. It lasts until Close, Abort or Detach, or until the connection or its node
// ends. Errors: ErrUnknownTransport, ErrRefused (this node has no right to write there),
// actors.ErrBadAddress, and those of Function.Call.
func (n *Node) Transport(ctx context.Context, address string) (*RemoteTransport, error) {
	addr, err := actors.Parse(address)
	if err != nil {
		return nil, err
	}
	if ctx == nil {
		return nil, badConfig("Transport needs a ctx, not nil: use context.Background()")
	}
	return n.streams.Open(ctx, addr)
}

// RegisterMessage lets actors of different nodes send each other values of type T. Both
// programs register it under the same name, usually once per package:
//
//	var _ = cluster.RegisterMessage[Tick]("clock.tick")
//
// T travels as CBOR, []byte as it is (see the package); a value that is to arrive as a pointer is
// registered as a pointer. It panics when the name or the type is taken, like
// http.Handle. It returns a value only so that it can initialize a package variable.
func RegisterMessage[T any](name string) struct{} { return registry.AddMessage[T](name) }

// Actors is the actor system that other nodes reach through this node: the one
// of Config.Actors, or one made for the node. What an actor here sends to an
// address of another node travels at most once, and in order from one actor to
// another; its type is registered with RegisterMessage. Loops made by NewLoop
// belong to it.
func (n *Node) Actors() *actors.System { return n.actors }

// systemOf gives the actor system of a node: the configured one, or a new one.
func systemOf(sys *actors.System, log hclog.Logger) (*actors.System, error) {
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

// releaseActors takes the actor system off the node, and shuts it down when it was made
// for the node.
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
