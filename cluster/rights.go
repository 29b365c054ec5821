package cluster

import (
	"fmt"
	"strings"

	"github.com/loopmesh/loopmesh/cluster/events"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/link"
	"github.com/loopmesh/loopmesh/cluster/internal/pubsub"
	"github.com/loopmesh/loopmesh/cluster/internal/registry"
	"github.com/loopmesh/loopmesh/cluster/internal/tells"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// Who may do what here. Rights are checked by the node that is asked, for each frame,
// on the receiving goroutine. They are read from the subject of the frame
// (link.Arrival). With keys the NATS server lets a node publish only under subjects
// with its own name and rights; so a check compares texts and needs no table of nodes.

// allowed reports whether the sender has the right that its frame takes. Without keys
// every sender has the rights of Config.Allow. A frame without the right is counted and
// logged, and its sender is told where it waits for an answer (refuse).
func (w *wiring) allowed(f *wire.Frame, in link.Arrival) bool {
	kind, name := neededRight(f)
	if kind == "" || hasRight(in, kind, name) || f.Kind == wire.Stream && w.written.Expected(f) {
		return true
	}
	right := kind
	if name != "" {
		right += ":" + name
	}
	w.refused.Add(1)
	w.members.Report(events.Refused, link.Peer{Name: in.Sender, Number: f.FromNumber}, fmt.Sprintf("a %s that needs %s, and its rights are %s", f.Kind, right, in.Rights))
	if ok, more := w.refusals.Allow(); ok {
		w.log.Warn("a node asked for what it has no right to", "from", in.Sender, "needs", right, "has", in.Rights, "kind", f.Kind.String(), "kept_back", more)
	}
	w.refuse(f, fault.Codef(wire.Refused, "%w: node %s has no right %s here, its rights are %s", fault.ErrRefused, in.Sender, right, in.Rights))
	return false
}

// refuse tells the sender of a frame that it does not run, where somebody waits to
// hear it.
func (w *wiring) refuse(f *wire.Frame, err error) {
	switch f.Kind {
	case wire.Call, wire.TransportOp:
		w.link.Answer(link.Sender(f), fault.Frame(f.ID, err))
	case wire.Cast:
		w.casts.Deny(f, err)
	case wire.Stream:
		w.written.Deny(f, err)
	case wire.Tell:
		w.tells.Refuse(f, err)
	}
}

// neededRight is the right that a frame takes, and what it is for; kind is "" for what
// every member may do: answers, watches, credits, heartbeats. A kind of frame that is
// missing here is allowed to everybody: add each new kind that changes something. It is
// asked for each frame, so the two are not joined to one text.
//
// Orders of the admin API (registry.OrderPrefix) are functions like others and end what
// runs here: they take the right "admin", also when they come as a call without an
// answer or for later. A node that may call every function (call:*, the default with
// keys) may look at another one, and stop nothing there. Functions of package process
// (registry.SpawnPrefix) are one for each profile, so that the right is known from the frame.
func neededRight(f *wire.Frame) (kind, name string) {
	switch f.Kind {
	case wire.Call:
		if f.Function == loopsFunction {
			return "", ""
		}
		if strings.HasPrefix(f.Function, registry.OrderPrefix) {
			return "admin", ""
		}
		if profile, is := strings.CutPrefix(f.Function, registry.SpawnPrefix); is {
			return "spawn", profile
		}
		return "call", f.Function
	case wire.Cast:
		if strings.HasPrefix(f.Function, registry.OrderPrefix) {
			return "admin", ""
		}
		if profile, is := strings.CutPrefix(f.Function, registry.SpawnPrefix); is {
			return "spawn", profile
		}
		if f.Op == wire.Soon {
			return "call", f.Function
		}
		return "timer", f.Function
	case wire.TransportOp, wire.Stream:
		return "write", ""
	case wire.Publish:
		if pubsub.Internal(f.Function) {
			return "", ""
		}
		return "publish", f.Function
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
	case "publish":
		return in.Rights.Publish(name)
	case "timer":
		return in.Rights.Timer(name)
	case "spawn":
		return in.Rights.Spawn(name)
	case "write":
		return in.Rights.Write()
	case "admin":
		return in.Rights.Admin()
	}
	return false
}

// subjectDenied ends calls and streams to a node to which the NATS server lets this node
// send nothing. The server says so some time after the publish, which returned nil.
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
