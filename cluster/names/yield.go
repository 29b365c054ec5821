package names

import (
	"context"
	"fmt"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
)

// An owner that comes back. Membership may have given a node up that lives: it was stopped,
// or cut off. Such a node holds nothing until it serves again and has looked whether its
// names are still its own (verify). Its look and the claim of another node can cross:
//
//	owner                          store                         claimer
//	                                                             hears that the owner is dead
//	serves again
//	looks: the record is its own   <---- Get
//	holds the name                         Put (its own) ---->   owns the name
//	hears of the record, ends
//
// Until the owner has heard of the record, both would act. So who has taken a name over
// because of a death looks again after its write. When the owner is back, or may live, the
// claimer waits before it acts, for as long as an owner may take to hear of a record; the
// record keeps others from the name meanwhile.
//
// Is a look after the write enough? Only when the owner has ended. Who is cut off from the
// owner by a partition gives it up, and may be the one who was cut off: the owner lives on
// the larger side and was never fenced, so it looks at nothing. When the partition heals, the
// claimer can write before it has heard the owner's next heartbeat, and news of the owner's
// return may have been lost while servers had no route to each other. So the claimer waits
// whenever it knows nothing but silence. It acts at once when the owner's process is known to
// have ended (inside.Parts.Gone), and nothing was heard of it since.

// The same holds for an owner whose lease the servers have removed: by their wall clock, which
// may be set, while the owner goes by its monotonic one. Its node is heard of all the time.

// hearing is how long an owner may take to hear of a record: one that has heard nothing for
// two heartbeats of its consumer reads everything anew (records.Follow).
const hearing = 3 * time.Second

// yielded waits, after a claim has taken the place of the record of before, until its owner
// has stopped to act.
func (r *room) yielded(ctx context.Context, before ownership) error {
	if before.Free || before.Node == r.node.Name() {
		return nil
	}
	switch {
	case r.heard(before.Node, before.Life):
		r.parts.Log.Warn("the owner of a name was taken for dead, or its lease is gone, and it is heard of; this node waits before it acts as the owner", "name", before.Name, "owner", before.Node)
	case r.gone(before.Node, before.Life), !r.isDead(before): // not dead: its lease has ended, and nothing is heard of it
		return nil
	default:
		r.parts.Log.Debug("the owner of a name was silent, and may live; this node waits before it acts as the owner", "name", before.Name, "owner", before.Node)
	}
	patience := time.NewTimer(hearing)
	defer patience.Stop()
	select {
	case <-patience.C:
		return nil
	case <-r.ctx.Done():
		return fmt.Errorf("%w: the node is leaving", cluster.ErrClosed)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
