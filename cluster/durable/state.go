package durable

import (
	"context"
	"fmt"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/codec"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// State is a value of T for each key, that outlives the actor, the loop or the node that
// works on it: of whoever owns the key's name (names.Place), or runs the commands of its
// queue. The next owner finds what the one before it left, and from then on the one
// before it changes nothing any more.
//
// It is a Sink that knows a type. Values travel as arguments of functions do, and the
// same rules say how T may change. Make one with NewState; any goroutine.
type State[T any] struct{ sink *Sink }

// NewState is the state of that name. It sends nothing. Two types under one name
// overwrite each other's values.
func NewState[T any](n *cluster.Node, name string) (*State[T], error) {
	sink, err := NewSink(n, name)
	if err != nil {
		return nil, err
	}
	return &State[T]{sink}, nil
}

// Get reads the value of a key; the zero value when there is none. It waits for the
// store as Sink.Apply does. Errors: ErrBadID, cluster.ErrBadPayload, and those of the package.
func (s *State[T]) Get(ctx context.Context, key string) (v T, err error) {
	b, err := s.sink.Get(ctx, key)
	if err != nil {
		return v, err
	}
	return readState[T](b)
}

// Update changes the value of a key once for each Owner and ID of a run, as Sink.Apply
// does: the new value, the keys that fn writes to tx, the calls for later that it arms
// with it (CallLaterIn), and that the run has been, are stored in one step or not at all.
// A run that was applied before does nothing. fn may be called several times, each time
// with the value as it is then, and must have no other effect than on v and tx.
// Errors: those of Apply, and cluster.ErrBadPayload for a value of another type.
func (s *State[T]) Update(ctx context.Context, run Run, key string, fn func(v *T, tx *Tx) error) error {
	if fn == nil {
		return fault.Config("durable: Update needs a function, not nil")
	}
	return s.sink.Apply(ctx, run, func(tx *Tx) error {
		b, err := tx.Get(key)
		if err != nil {
			return err
		}
		v, err := readState[T](b)
		if err != nil {
			return err
		}
		if err := fn(&v, tx); err != nil {
			return err
		}
		form, body, err := codec.Encode(v)
		if err != nil {
			return err
		}
		return tx.Put(key, append([]byte{byte(form)}, body...))
	})
}

// Why a byte in front: a value tells itself how it is written (CBOR, JSON, protobuf, plain
// bytes), as a frame does, so a type may later write itself in another form and still read
// what was stored before.

// readState reads a stored value: its first byte says how the others are written.
func readState[T any](b []byte) (v T, err error) {
	if len(b) == 0 {
		return v, nil
	}
	if v, err = codec.Decode[T](wire.Codec(b[0]), b[1:]); err != nil {
		return v, fmt.Errorf("the stored state: %w", err)
	}
	return v, nil
}
