package calls

import (
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/link"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// A node that leaves answers every call that it has taken before it says goodbye, and takes none
// afterwards. What it cannot answer is a call that is on its way to it in that moment. Its
// caller has to be told all the same that nothing ran, or it could not ask another node.
//
// So the goodbye to each node says from which of its calls on none has arrived: ids of one
// sender only grow, and the newest one that came is known. A call above it did not begin and
// does not. One below it that has no answer may have run: two goroutines of a caller may send in
// another order than they drew their ids, and an answer may have been lost.
//
// 0 claims nothing: it is what nodes of earlier versions send, which ignore the number too.

// Unseen is the id from which on no call of a node has begun here, nor will, when the loops
// have ended; 0: nobody knows, since something about the node was forgotten.
func (t *Incoming) Unseen(peer link.Peer) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.bySender[sender{peer.Name, peer.Number}]
	switch {
	case t.forgotten || !t.refused:
		return 0
	case s == nil:
		return 1
	}
	return s.newest + 1
}

// NeverBegan ends the calls to a node that leaves, from an id on, which it says have not begun
// there. Other requests are not counted by who leaves, so they are not meant.
func (o *Outgoing) NeverBegan(peer link.Peer, from uint64) {
	if from == 0 {
		return
	}
	unseen, _ := o.table.takeWhere(func(p *pending) bool { return p.peer == peer && p.kind == wire.Call && p.id >= from })
	for _, p := range unseen {
		p.done(answer{err: p.failure(fault.ErrLeaving, "the node has left; the call did not reach it before")})
	}
}
