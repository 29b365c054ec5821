package calls

import (
	"sync"

	"github.com/loopmesh/loopmesh/cluster/internal/link"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// maxGivenUp bounds for how many nodes calls given up are remembered.
const maxGivenUp = 1024

// givenUp remembers the nodes to which a Cancel could not be sent when calls to
// them failed: because this node was cut off, or the other was. The tasks of
// these calls may still run there. When the node is heard of again, one CancelAll
// ends them. One number per node is enough: whenever it is noted, every call to
// the node with an id up to it has failed.
type givenUp struct {
	mu     sync.Mutex
	byPeer map[link.Peer]uint64 // the newest call
}

func (g *givenUp) init() { g.byPeer = map[link.Peer]uint64{} }

// note remembers that all calls to a peer with ids up to newest failed.
func (g *givenUp) note(peer link.Peer, newest uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.byPeer) >= maxGivenUp {
		clear(g.byPeer) // those tasks end by their deadlines
	}
	g.byPeer[peer] = newest
}

// take returns up to which id the calls to a peer failed, once; 0 when there is
// nothing to say to it.
func (g *givenUp) take(peer link.Peer) (newest uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	newest = g.byPeer[peer]
	delete(g.byPeer, peer)
	return newest
}

func (g *givenUp) peers() (out []link.Peer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for peer := range g.byPeer {
		out = append(out, peer)
	}
	return out
}

// NodeBack ends the tasks of calls given up on a node that is a member again.
func (o *Outgoing) NodeBack(peer link.Peer) {
	if newest := o.given.take(peer); newest != 0 {
		me := o.link.Self()
		o.link.Answer(peer, &wire.Frame{Kind: wire.CancelAll, ID: newest, From: me.Name, FromNumber: me.Number})
	}
}

// Reconnected ends the tasks of calls given up while this node was cut off.
func (o *Outgoing) Reconnected() {
	for _, peer := range o.given.peers() {
		if number, ok := o.members.Number(peer.Name); ok && number == peer.Number {
			o.NodeBack(peer)
		}
	}
}
