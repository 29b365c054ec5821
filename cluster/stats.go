package cluster

import "sync/atomic"

// Stats are the node's counters since its start, and two levels.
type Stats struct {
	FramesIn     uint64 `json:"frames_in"`     // frames of other nodes, also malformed ones
	FramesOut    uint64 `json:"frames_out"`    // frames published
	Batches      uint64 `json:"batches"`       // messages with more than one of these frames
	SendErrors   uint64 `json:"send_errors"`   // frames that could not be published
	Malformed    uint64 `json:"malformed"`     // frames refused by the decoder or sent to the wrong place
	Calls        uint64 `json:"calls"`         // calls made to other nodes
	CallsFailed  uint64 `json:"calls_failed"`  // of these: ended in an error
	Served       uint64 `json:"served"`        // calls of other nodes that ran to an end here
	Refused      uint64 `json:"refused"`       // calls of other nodes that did not run
	Expired      uint64 `json:"expired"`       // of these: too late
	CastsOut     uint64 `json:"casts_out"`     // CallSoon, CallLater, CallAt sent
	CastsIn      uint64 `json:"casts_in"`      // and received
	CastsFailed  uint64 `json:"casts_failed"`  // received, but refused or failed
	TellsOut     uint64 `json:"tells_out"`     // messages of actors sent
	TellsIn      uint64 `json:"tells_in"`      // and received
	TellsFailed  uint64 `json:"tells_failed"`  // received, but for nobody or not readable
	NoResponders uint64 `json:"no_responders"` // frames to nodes that are not there
	Late         uint64 `json:"late"`          // answers nobody waited for any more
	Dropped      uint64 `json:"dropped"`       // messages NATS dropped: this node was too slow
	Disconnects  uint64 `json:"disconnects"`   // connections to NATS lost
	Reconnects   uint64 `json:"reconnects"`    // and won again
	NodesDown    uint64 `json:"nodes_down"`    // members found dead
	Conflicts    uint64 `json:"conflicts"`     // signs of another node with this node's name
	InFlight     int    `json:"in_flight"`     // calls of this node that wait
	Inbound      int    `json:"inbound"`       // calls of other nodes that run here
	Members      int    `json:"members"`       // with this node
	Loops        int    `json:"loops"`         // hosted
}

type counters struct {
	framesIn, framesOut, sendErrors, malformed, calls, callsFailed, served, refused, expired atomic.Uint64
	castsOut, castsIn, castsFailed, noResponders, late, slow, disconnects, reconnects        atomic.Uint64
	tellsOut, tellsIn, tellsFailed, nodesDown, conflicts, batches                            atomic.Uint64
}

// Stats reads the counters.
func (n *Node) Stats() Stats {
	c := &n.stats
	s := Stats{
		FramesIn: c.framesIn.Load(), FramesOut: c.framesOut.Load(), Batches: c.batches.Load(), SendErrors: c.sendErrors.Load(), Malformed: c.malformed.Load(),
		Calls: c.calls.Load(), CallsFailed: c.callsFailed.Load(), Served: c.served.Load(), Refused: c.refused.Load(),
		Expired: c.expired.Load(), TellsOut: c.tellsOut.Load(), TellsIn: c.tellsIn.Load(), TellsFailed: c.tellsFailed.Load(),
		CastsOut: c.castsOut.Load(), CastsIn: c.castsIn.Load(), CastsFailed: c.castsFailed.Load(),
		NoResponders: c.noResponders.Load(), Late: c.late.Load(), Disconnects: c.disconnects.Load(), Reconnects: c.reconnects.Load(),
		NodesDown: c.nodesDown.Load(), Conflicts: c.conflicts.Load(),
		InFlight: n.pending.count(), Inbound: n.inbound.count(), Members: len(n.Members()), Loops: len(n.Loops()),
	}
	for _, sub := range n.subs {
		if d, err := sub.Dropped(); err == nil && d > 0 {
			s.Dropped += uint64(d)
		}
	}
	return s
}
