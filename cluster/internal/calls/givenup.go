package calls

import (
	"sync"
	"sync/atomic"

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
	count  atomic.Int64         // length of byPeer
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
	g.count.Store(int64(len(g.byPeer)))
}

// empty reports whether nothing is remembered. It is asked for every sign of life.
func (g *givenUp) empty() bool { return g.count.Load() == 0 }

// take returns up to which id the calls to a peer failed, once; 0 when there is
// nothing to say to it.
func (g *givenUp) take(peer link.Peer) (newest uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	newest = g.byPeer[peer]
	delete(g.byPeer, peer)
	g.count.Store(int64(len(g.byPeer)))
	return newest
}

// Heard ends the tasks of calls given up on a node that gives a sign of life. Why not
// sooner, when this node is connected again: the other one may come back later, and
// NATS drops what is sent to nobody.
func (o *Outgoing) Heard(peer link.Peer) {
	if o.given.empty() {
		return
	}
	if newest := o.given.take(peer); newest != 0 {
		me := o.link.Self()
		o.link.Answer(peer, &wire.Frame{Kind: wire.CancelAll, ID: newest, From: me.Name, FromNumber: me.Number})
	}
}
