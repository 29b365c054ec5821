package calls

import (
	"sync"

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
	byNode map[string]lost
}

type lost struct{ number, newest uint64 }

func (g *givenUp) init() { g.byNode = map[string]lost{} }

// note remembers that all calls to an incarnation with ids up to newest failed.
func (g *givenUp) note(node string, number, newest uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.byNode) >= maxGivenUp {
		clear(g.byNode) // those tasks end by their deadlines
	}
	g.byNode[node] = lost{number, newest}
}

// take returns up to which id the calls to an incarnation failed, once; 0 when
// there is nothing to say to it.
func (g *givenUp) take(node string, number uint64) (newest uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	l, ok := g.byNode[node]
	delete(g.byNode, node)
	if !ok || l.number != number {
		return 0 // another life of it: what ran there is gone
	}
	return l.newest
}

func (g *givenUp) nodes() (out []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for node := range g.byNode {
		out = append(out, node)
	}
	return out
}

// NodeBack ends the tasks of calls given up on a node that is a member again.
func (o *Outgoing) NodeBack(node string, number uint64) {
	if newest := o.given.take(node, number); newest != 0 {
		o.cancelUpTo(node, newest)
	}
}

// Reconnected ends the tasks of calls given up while this node was cut off.
func (o *Outgoing) Reconnected() {
	for _, node := range o.given.nodes() {
		if number, ok := o.members.Number(node); ok {
			o.NodeBack(node, number)
		}
	}
}

func (o *Outgoing) cancelUpTo(node string, newest uint64) {
	me := o.link.Self()
	o.link.Answer(node, &wire.Frame{Kind: wire.CancelAll, ID: newest, From: me.Name, FromNumber: me.Number})
}
