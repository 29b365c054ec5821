package cluster

import "fmt"

// Done is closed when the node is closed, by its program or by itself. Then Reason
// says why.
func (n *Node) Done() <-chan struct{} { return n.closed }

// Reason is why the node ended by itself: ErrNameTaken when a newer node has its
// name. nil while it lives, and when its program closed it.
func (n *Node) Reason() error {
	if p := n.reason.Load(); p != nil {
		return *p
	}
	return nil
}

// lostName ends a node whose name a newer one has. From now on nothing that arrives is
// served (members.Serving). It does not wait: it is told on the receiving goroutine.
func (n *Node) lostName(newer uint64) {
	err := fmt.Errorf("%w: a newer node, incarnation %d, has the name %s; this one was stopped or cut off for too long", ErrNameTaken, newer, n.name)
	n.reason.Store(&err)
	// goroutine: owner: node; ends when Config.Lost has returned or Close has
	go n.endLost(err)
}

// endLost tells everybody here who depends on the node, and then the program.
func (n *Node) endLost(reason error) {
	n.in.Refuse()
	n.casts.Refuse()
	n.in.CancelEvery("a newer node has this node's name")
	n.out.Fence(reason.Error())
	if n.cfg.Lost != nil {
		n.cfg.Lost(reason)
		return
	}
	n.Close()
}
