package process

import (
	"cmp"
	"context"
	"slices"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/link"
	"github.com/loopmesh/loopmesh/loopnode"
)

// Child is a process that a node has started by a profile, as the node itself sees it.
type Child struct {
	ID    string // NODE/PROFILE/NUMBER, as Process.String of its owner
	PID   int    // 0 while it is being started
	Owner string // the node that has it; "": nobody has, and Attach may take it
	Keep  bool   // its profile keeps it without an owner
	Ended bool   // it has ended, and its status and output are kept for whoever asks
}

// Children are the processes of this node, those included that have ended and are kept, by
// their numbers: their order is that of their starts. It is for code that runs on the loop
// LoopName of the node, which owns them, and does not wait. Error: cluster.ErrConfig
// anywhere else.
func Children(ctx context.Context) ([]Child, error) {
	loop, err := loopnode.Running(ctx)
	if err != nil {
		return nil, err
	}
	node, ok := cluster.NodeOf(ctx)
	if !ok {
		return nil, cluster.ErrNoNode
	}
	h := hostOf(node)
	h.mu.Lock()
	mine := h.loop == loop
	h.mu.Unlock()
	if !mine {
		return nil, fault.Config("Children needs the loop %s/%s: it owns them", node.Name(), LoopName)
	}
	all := make([]*child, 0, len(h.children))
	for _, c := range h.children {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *child) int { return cmp.Compare(a.id, b.id) })
	out := make([]Child, 0, len(all))
	for _, c := range all {
		out = append(out, Child{ID: c.reference(), PID: c.pid, Owner: c.holder(), Keep: c.profile.Orphan == Keep, Ended: c.exit != nil})
	}
	return out, nil
}

// holder is the node that has the child. One that has ended is nobody's as soon as its output
// was read, whoever had it.
func (c *child) holder() string {
	if c.owner == (link.Peer{}) || c.exit != nil && !c.read() {
		return ""
	}
	return c.owner.Name
}
