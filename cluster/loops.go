package cluster

import (
	"fmt"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster/internal/host"
	"github.com/loopmesh/loopmesh/internal/wire"
	"github.com/loopmesh/loopmesh/loopnode"
)

// NewLoop makes a loop on this node and runs it on a goroutine of its own until
// the node is closed or somebody stops the loop. Every configure may change the
// loop's Config. The loop is node/name for every node. What its functions share
// is a loopnode.PerLoop, whose New is told the loop; something that has to be made
// in advance is made by a task on the loop, which Ref.Local gives. Errors: ErrNameTaken,
// ErrClosed, ErrConfig (a name that cannot be in an address), and loopnode.New's.
func (n *Node) NewLoop(name string, configure ...func(*loopnode.Config)) (loopnode.Ref, error) {
	if err := host.CheckName(name); err != nil {
		return loopnode.Ref{}, err
	}
	cfg := loopnode.Config{Name: name, Logger: n.log.Named("loop"), Actors: n.actors}
	for _, set := range configure {
		if set != nil {
			set(&cfg)
		}
	}
	cfg.Name = name
	loop, err := loopnode.New(cfg)
	if err != nil {
		return loopnode.Ref{}, err
	}
	return n.loops.Run(loop)
}

// Host makes a loop that somebody else runs addressable as node/name, until the
// loop is closed. The loop stays its owner's: Close of the node does not stop it.
// Errors: ErrNameTaken, ErrClosed, ErrConfig.
func (n *Node) Host(loop *loopnode.Loop) (loopnode.Ref, error) {
	if loop == nil {
		return loopnode.Ref{}, badConfig("Host needs a loop, not nil")
	}
	return n.loops.Add(loop)
}

// Loops are the names of the loops of this node, sorted.
func (n *Node) Loops() []string {
	return n.loops.Names()
}

// Loop is the loop of this node with that name.
func (n *Node) Loop(name string) (loopnode.Ref, bool) {
	h := n.loops.Find(name)
	if h == nil {
		return loopnode.Ref{}, false
	}
	return h.Ref, true
}

// Ref reads an address such as "n2/io-0" or "n2@81/io-0" and returns the loop it
// names. It sends nothing: a node or loop that does not exist is found out by the
// call. Without an incarnation the address means whichever lives. Errors: for a
// text that is no address, and for a loop this very node does not have.
func (n *Node) Ref(address string) (loopnode.Ref, error) {
	addr, err := actors.Parse(address)
	if err != nil {
		return loopnode.Ref{}, err
	}
	return n.RefTo(addr)
}

// RefTo is Ref for an address that has been read.
func (n *Node) RefTo(addr actors.Address) (loopnode.Ref, error) {
	if addr.Node != "" && addr.Node != n.name {
		if !wire.ValidName(addr.Node) {
			return loopnode.Ref{}, fmt.Errorf("%w: %q cannot be the name of a node: use letters, digits, - and _", actors.ErrBadAddress, addr.Node)
		}
		return loopnode.RemoteRef(addr).WithCarrier(n), nil
	}
	h, err := n.loops.At(addr)
	if err != nil {
		return loopnode.Ref{}, err
	}
	return h.Ref, nil
}
