package actors

import "unique"

// Ref is the address of an actor, safe to keep, compare, use as a map key and
// send to from any goroutine. The zero Ref names nobody.
//
// A Ref that came from Spawn, Self or Sender names that very actor: after its
// end it never reaches a successor with the same name. A Ref made from an
// Address is looked up each time.
type Ref struct {
	at     target                 // in this process; nil when known by address only
	remote unique.Handle[Address] // the address when at is nil
}

// target is what a Ref points at in this process: an actor or an Ask.
type target interface {
	address() Address
	deliver(envelope) error // any goroutine
}

// RefOf is a Ref known by its address alone: an actor on another node, or a
// name in this process that is looked up at each send.
func RefOf(a Address) Ref {
	if a.IsZero() {
		return Ref{}
	}
	return Ref{remote: unique.Make(a)}
}

// Address is where the ref points; Node is empty for this process (System.Export
// fills in what other nodes need).
func (r Ref) Address() Address {
	switch {
	case r.at != nil:
		return r.at.address()
	case r.IsZero():
		return Address{}
	}
	return r.remote.Value()
}

// IsZero reports whether the ref names nobody.
func (r Ref) IsZero() bool { return r == Ref{} }

// String is the address, "nobody" for the zero Ref.
func (r Ref) String() string {
	if r.IsZero() {
		return "nobody"
	}
	return r.Address().String()
}
