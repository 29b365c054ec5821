package cluster

import (
	"context"

	"github.com/loopmesh/loopmesh/cluster/internal/members"
	"github.com/loopmesh/loopmesh/cluster/internal/watching"
	"github.com/loopmesh/loopmesh/loopnode"
)

// Member is a node of the cluster as this node knows it.
type Member = members.Member

// Members are the nodes of the cluster known to be alive, this one included,
// by name.
func (n *Node) Members() []Member { return n.members.List() }

// WaitMembers waits until exactly count nodes are known, this one included.
func (n *Node) WaitMembers(ctx context.Context, count int) error {
	return n.members.Wait(ctx, count, n.stop)
}

// Terminated says that a watched loop has ended.
type Terminated = watching.Terminated

// Watch calls fn once, when ref's loop ends, also when its node dies, and when
// it cannot be watched because it does not exist. fn runs on a goroutine of the
// node, one after another; it should hand the notice over, not work. stop ends
// the watch: fn is not called after it has returned, unless it has begun before.
// Watch does not wait.
func (n *Node) Watch(ref loopnode.Ref, fn func(Terminated)) (stop func(), err error) {
	if fn == nil {
		return nil, badConfig("Watch needs a function, not nil")
	}
	loop, _, missing := locate(n, ref)
	return n.watches.Add(ref, loop, missing, fn)
}
