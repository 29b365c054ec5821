// Package streams carries writes and orders to connections of other nodes.
package streams

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster/internal/calls"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/link"
	"github.com/loopmesh/loopmesh/internal/guard"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// TransportRef is a connection of this process that any goroutine may command.
// None of its methods waits, and Write keeps no slice.
type TransportRef interface {
	Write(data []byte) error
	Close() error
	Abort() error
}

// Directory finds a connection of this process by its address; only the path
// counts. Any goroutine.
type Directory interface {
	Lookup(addr actors.Address) (TransportRef, bool)
}

// Streams carries operations on connections out, here and elsewhere. Any
// goroutine.
type Streams struct {
	link       *link.Link
	calls      *calls.Outgoing
	maxPayload int
	directory  atomic.Pointer[Directory]
}

// New makes the room.
func New(l *link.Link, out *calls.Outgoing, maxPayload int) *Streams {
	return &Streams{link: l, calls: out, maxPayload: maxPayload}
}

// SetDirectory says where connections are found; nil: nowhere.
func (s *Streams) SetDirectory(d Directory) { s.directory.Store(&d) }

// Do carries op out on the connection at addr and waits until its node has taken
// the order.
func (s *Streams) Do(ctx context.Context, addr actors.Address, op wire.Op, data []byte) error {
	if addr.Node == "" || addr.Node == s.link.Self().Name {
		return s.operate(addr, op, data)
	}
	_, err := s.calls.Request(ctx, addr, &wire.Frame{Kind: wire.TransportOp, Op: op, Payload: data})
	return err
}

// Serve carries an operation out for another node. Receiving goroutine: the
// connection's ref does not wait.
func (s *Streams) Serve(f *wire.Frame) {
	answer := &wire.Frame{Kind: wire.Result, ID: f.ID, Codec: wire.Raw}
	if err := s.operate(actors.Address{Incarnation: f.Incarnation, Path: f.Path}, f.Op, f.Payload); err != nil {
		answer = fault.Frame(f.ID, err)
	}
	s.link.Answer(link.Sender(f), answer)
}

func (s *Streams) operate(addr actors.Address, op wire.Op, data []byte) error {
	me := s.link.Self()
	if addr.Incarnation != 0 && addr.Incarnation != me.Number {
		return fault.Codef(wire.DeadIncarnation, "%w: the address means incarnation %d, the node lives as %d", fault.ErrDeadIncarnation, addr.Incarnation, me.Number)
	}
	if len(data) > s.maxPayload {
		return fault.Codef(wire.TooLarge, "%w: %d bytes, the limit is %d (Config.MaxPayload)", fault.ErrTooLarge, len(data), s.maxPayload)
	}
	ref, ok := s.lookup(actors.Address{Path: addr.Path})
	if !ok {
		return fault.Codef(wire.UnknownTarget, "%w: node %s has no connection %q", fault.ErrUnknownTransport, me.Name, addr.Path)
	}
	var err error
	if p := guard.Call(func() { err = apply(ref, op, data) }); p != nil {
		return p
	}
	return err
}

func (s *Streams) lookup(addr actors.Address) (TransportRef, bool) {
	d := s.directory.Load()
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
	return fmt.Errorf("%w: operation %d", fault.ErrRefused, op)
}
