package cluster

import (
	"fmt"
	"strings"

	"github.com/loopmesh/loopmesh/cluster/events"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/link"
	"github.com/loopmesh/loopmesh/cluster/internal/registry"
	"github.com/loopmesh/loopmesh/cluster/internal/tells"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// Who may do what here. Rights are checked by the node that is asked, for each frame,
// on the receiving goroutine. They come from the subject of the frame (link.Arrival),
// and with keys the NATS server lets a node publish under a subject with its own name
// and rights only; so a check is a comparison of texts and needs no table of nodes.

// allowed reports whether the sender may ask this of this node. The rights stand in
// the subject, under which the server lets no other node publish; without keys they
// are those of everybody (Config.Allow). A refusal is an answer where somebody
// waits for one, and is counted and logged here in any case.
func (r *rooms) allowed(f *wire.Frame, in link.Arrival) bool {
	kind, name := neededRight(f)
	if kind == "" || hasRight(in, kind, name) {
		return true
	}
	right := kind
	if name != "" {
		right += ":" + name
	}
	r.refused.Add(1)
	r.members.Report(events.Refused, link.Peer{Name: in.Sender, Number: f.FromNumber}, fmt.Sprintf("a %s that needs %s, and its rights are %s", f.Kind, right, in.Rights))
	if ok, more := r.refusals.Allow(); ok {
		r.log.Warn("a node asked for what it has no right to", "from", in.Sender, "needs", right, "has", in.Rights, "kind", f.Kind.String(), "kept_back", more)
	}
	r.refuse(f, fault.Codef(wire.Refused, "%w: node %s has no right %s here, its rights are %s", fault.ErrRefused, in.Sender, right, in.Rights))
	return false
}

// refuse tells the sender of a frame that it does not run, where somebody waits to
// hear it.
func (r *rooms) refuse(f *wire.Frame, err error) {
	switch f.Kind {
	case wire.Call, wire.TransportOp:
		r.link.Answer(link.Sender(f), fault.Frame(f.ID, err))
	case wire.Cast:
		r.casts.Deny(f, err)
	case wire.Stream:
		r.written.Deny(f, err)
	case wire.Tell:
		r.tells.Refuse(f, err)
	}
}

// neededRight is the right that a frame takes, and what it is for; kind is "" for what
// every member may do: answers, watches, credits, signs of life. A kind of frame that is
// missing here would be allowed to everybody; add it when you add one that does
// something. It is asked for each frame, so the two are not joined to one text.
//
// Orders of the admin API (registry.OrderPrefix) are functions like others and end what
// runs here: they take the right "admin", also when they come as a call without an
// answer or for later. A node that may call every function (call:*, the default with
// keys) may look at another one, and stop nothing there.
func neededRight(f *wire.Frame) (kind, name string) {
	switch f.Kind {
	case wire.Call:
		if strings.HasPrefix(f.Function, registry.OrderPrefix) {
			return "admin", ""
		}
		return "call", f.Function
	case wire.Cast:
		if strings.HasPrefix(f.Function, registry.OrderPrefix) {
			return "admin", ""
		}
		if f.Op == wire.Soon {
			return "call", f.Function
		}
		return "timer", f.Function
	case wire.TransportOp, wire.Stream:
		return "write", ""
	case wire.Tell:
		kind, name, _ = strings.Cut(tells.NeededRight(f.Function, f.Path), ":")
	}
	return kind, name
}

// hasRight compares one right with those in the subject. A kind that it does not know
// is refused.
func hasRight(in link.Arrival, kind, name string) bool {
	switch kind {
	case "call":
		return in.Rights.Call(name)
	case "timer":
		return in.Rights.Timer(name)
	case "write":
		return in.Rights.Write()
	case "admin":
		return in.Rights.Admin()
	}
	return false
}

// subjectDenied ends what waits for an answer to something that the NATS server did
// not let this node send. NATS says so behind a publish that went well, or not at all.
func (n *Node) subjectDenied(subject string) {
	n.parts.Deny(subject)
	n.members.Report(events.Denied, link.Peer{Name: n.name, Number: n.number}, subject)
	rest, ok := strings.CutPrefix(subject, n.cfg.Cluster+".")
	kind, rest, _ := strings.Cut(rest, ".")
	node, _, more := strings.Cut(rest, ".")
	switch {
	case !ok || !more:
	case kind == "to":
		n.out.Denied(node)
		n.streams.Denied(node)
	case kind == "bulk":
		n.streams.Denied(node)
	}
}
