package cluster

import (
	"context"
	"fmt"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/internal/guard"
	"github.com/loopmesh/loopmesh/internal/wire"
	"github.com/loopmesh/loopmesh/transportactors"
)

// TransportRef is a connection of this process that any goroutine may command.
// None of its methods waits, and Write keeps no slice.
type TransportRef interface {
	Write(data []byte) error
	Close() error
	Abort() error
}

// TransportDirectory finds a connection of this process by its address; only the
// path counts. Any goroutine.
type TransportDirectory interface {
	Lookup(addr actors.Address) (TransportRef, bool)
}

// TransportLookup is a function as a TransportDirectory.
type TransportLookup func(addr actors.Address) (TransportRef, bool)

// Lookup calls the function.
func (f TransportLookup) Lookup(addr actors.Address) (TransportRef, bool) { return f(addr) }

// processTransports finds the connections of package transportactors.
func processTransports(addr actors.Address) (TransportRef, bool) { return transportactors.Lookup(addr) }

// SetTransports says where connections are found that other nodes write to,
// close or abort. With nil every such request is ErrUnknownTransport.
func (n *Node) SetTransports(d TransportDirectory) { n.transports.Store(&d) }

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
	if t.addr.Node == "" || t.addr.Node == t.node.name {
		return t.node.operate(t.addr, op, data)
	}
	_, err := t.node.request(ctx, t.addr, &wire.Frame{Kind: wire.TransportOp, Op: op, Payload: data})
	return err
}

// serveTransport carries an operation out for another node. Receiving goroutine:
// the connection's ref does not wait.
func (n *Node) serveTransport(f *wire.Frame) {
	answer := &wire.Frame{Kind: wire.Result, Codec: wire.Raw}
	if err := n.operate(actors.Address{Incarnation: f.Incarnation, Path: f.Path}, f.Op, f.Payload); err != nil {
		answer = errorFrame(err)
	}
	answer.ID = f.ID
	n.answer(n.subjects.of(f.From), answer)
}

func (n *Node) operate(addr actors.Address, op wire.Op, data []byte) error {
	if addr.Incarnation != 0 && addr.Incarnation != n.number {
		return codef(wire.DeadIncarnation, "%w: the address means incarnation %d, the node lives as %d", ErrDeadIncarnation, addr.Incarnation, n.number)
	}
	if len(data) > n.cfg.MaxPayload {
		return codef(wire.TooLarge, "%w: %d bytes, the limit is %d (Config.MaxPayload)", ErrTooLarge, len(data), n.cfg.MaxPayload)
	}
	ref, ok := n.lookup(actors.Address{Path: addr.Path})
	if !ok {
		return codef(wire.UnknownTarget, "%w: node %s has no connection %q", ErrUnknownTransport, n.name, addr.Path)
	}
	var err error
	if p := guard.Call(func() { err = apply(ref, op, data) }); p != nil {
		return p
	}
	return err
}

func (n *Node) lookup(addr actors.Address) (TransportRef, bool) {
	d := n.transports.Load()
	if d == nil || *d == nil {
		return nil, false
	}
	return (*d).Lookup(addr)
}

func apply(ref TransportRef, op wire.Op, data []byte) error {
	switch op {
	case wire.Write:
		return ref.Write(data)
	case wire.Close:
		return ref.Close()
	case wire.Abort:
		return ref.Abort()
	}
	return fmt.Errorf("%w: operation %d", ErrRefused, op)
}
