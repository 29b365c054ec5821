package cluster

import "sync/atomic"

type counter = atomic.Uint64

// Stats are the node's counters since its start, and some levels. Counters only grow,
// so the rate of anything is the difference of two readings. Each is read by itself:
// two fields of one Stats may be a moment apart, and sums of them need not match.
//
// What to look at first: Dropped and Malformed should be zero; Refused and
// CastsFailed grow when a loop is overloaded; Lost grows when messages were on their
// way to a node that died; UnderWay that stays high is a loop or actor that does not
// take what is sent.
type Stats struct {
	FramesIn     uint64 `json:"frames_in"`     // frames of other nodes, also malformed ones
	FramesOut    uint64 `json:"frames_out"`    // frames published
	Batches      uint64 `json:"batches"`       // messages with more than one of these frames
	SendErrors   uint64 `json:"send_errors"`   // frames that could not be published
	Malformed    uint64 `json:"malformed"`     // frames refused by the decoder, sent to the wrong place or too often
	Calls        uint64 `json:"calls"`         // calls made to other nodes
	CallsFailed  uint64 `json:"calls_failed"`  // of these: ended in an error
	Served       uint64 `json:"served"`        // calls of other nodes that ran to an end here
	Refused      uint64 `json:"refused"`       // calls of other nodes that did not run
	Expired      uint64 `json:"expired"`       // of these: too late
	CastsOut     uint64 `json:"casts_out"`     // CallSoon, CallLater, CallAt sent
	CastsIn      uint64 `json:"casts_in"`      // and received
	CastsFailed  uint64 `json:"casts_failed"`  // received, but refused or failed
	CastsWaited  uint64 `json:"casts_waited"`  // these and messages that had to wait for credit
	Lost         uint64 `json:"lost"`          // these and messages that never arrived, or whose node went down
	Refusals     uint64 `json:"refusals"`      // these and messages that arrived and did not run
	Missing      uint64 `json:"missing"`       // of others: never arrived here
	UnderWay     uint64 `json:"under_way"`     // sent and not yet taken by their loops and actors
	Timers       int    `json:"timers"`        // calls for later that wait here
	TellsOut     uint64 `json:"tells_out"`     // messages of actors sent
	TellsIn      uint64 `json:"tells_in"`      // and received
	TellsFailed  uint64 `json:"tells_failed"`  // received, but for nobody or not readable
	NoResponders uint64 `json:"no_responders"` // frames to nodes that are not there
	Late         uint64 `json:"late"`          // answers nobody waited for any more
	Dropped      uint64 `json:"dropped"`       // messages NATS dropped: this node was too slow
	Disconnects  uint64 `json:"disconnects"`   // connections to NATS lost
	Reconnects   uint64 `json:"reconnects"`    // and won again
	NoRight      uint64 `json:"no_right"`      // what other nodes asked for without a right to it
	NodesDown    uint64 `json:"nodes_down"`    // members found dead
	Conflicts    uint64 `json:"conflicts"`     // signs of another node with this node's name
	Fenced       uint64 `json:"fenced"`        // frames refused because this node was fenced
	InFlight     int    `json:"in_flight"`     // calls of this node that wait
	Inbound      int    `json:"inbound"`       // calls of other nodes that run here
	Members      int    `json:"members"`       // with this node
	Loops        int    `json:"loops"`         // hosted
}

// Stats reads the counters.
func (n *Node) Stats() Stats {
	frames, members, out, in := n.link.Counters(), n.wiring.members.Counters(), n.out.Counters(), n.in.Counters()
	casts, tells, outflows := n.casts.Counters(), n.tells.Counters(), n.outflows.Counters()
	return Stats{
		FramesIn: frames.FramesIn, FramesOut: frames.FramesOut, Batches: frames.Batches,
		SendErrors: frames.SendErrors, Malformed: frames.Malformed, Dropped: frames.Dropped,
		Calls: out.Calls, CallsFailed: out.Failed, Late: out.Late, InFlight: out.Waiting,
		Served: in.Served, Refused: in.Refused, Expired: in.Expired, Inbound: in.Running + casts.Active,
		CastsOut: casts.Out, CastsIn: casts.In, CastsFailed: casts.Failed,
		TellsOut: tells.Out, TellsIn: tells.In, TellsFailed: tells.Failed,
		CastsWaited: outflows.Waits, Lost: outflows.Lost, Refusals: outflows.Refused, UnderWay: outflows.Under,
		Missing: n.inflows.Counters().Missing, Timers: casts.Timers,
		NoResponders: members.NoResponders, NodesDown: members.Down, Conflicts: members.Conflicts,
		Disconnects: n.disconnects.Load(), Reconnects: n.reconnects.Load(), Fenced: n.refusedFenced.Load(),
		NoRight: n.refused.Load(), Members: len(n.Members()), Loops: len(n.Loops()),
	}
}
