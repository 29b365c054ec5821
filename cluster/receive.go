package cluster

import (
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/loopmesh/loopmesh/internal/wire"
)

// Tokens behind the reply subject say what a "nobody is there" is about.
const (
	pingToken  = "p-" // and the number of the question, -, the node's name
	watchToken = "w-" // and the node's name
)

// receiver handles everything on the node's own subject, on one goroutine, in
// order. It never waits: work goes to loops.
func (n *Node) receiver() nats.MsgHandler {
	var f wire.Frame
	names := &wire.Names{}
	return func(m *nats.Msg) {
		token, reply := strings.CutPrefix(m.Subject, n.subjects.reply)
		if reply && len(m.Data) == 0 && m.Header.Get("Status") == "503" {
			n.unreachable(token)
			return
		}
		n.stats.framesIn.Add(1)
		if err := wire.Decode(m.Data, &f, names); err != nil {
			n.malformed(m.Subject, err)
			return
		}
		if f.Kind == wire.Batch {
			n.unpack(&f, names, m, reply)
			return
		}
		n.dispatch(&f, m, reply)
	}
}

func (n *Node) memberReceiver() nats.MsgHandler {
	var f wire.Frame
	names := &wire.Names{}
	return func(m *nats.Msg) {
		n.stats.framesIn.Add(1)
		if err := wire.Decode(m.Data, &f, names); err != nil {
			n.malformed(m.Subject, err)
			return
		}
		switch f.Kind {
		case wire.Hello, wire.Ping:
			if n.senderFits(&f, m.Subject) {
				n.heard(&f)
			}
		default:
			n.misplaced(&f, m.Subject)
		}
	}
}

// dispatch runs on the receiving goroutine. f is reused for the next frame:
// who keeps something of it copies it. f.Payload belongs to this message alone.
func (n *Node) dispatch(f *wire.Frame, m *nats.Msg, reply bool) {
	switch f.Kind {
	case wire.Result, wire.Error:
		n.answered(f)
		return
	}
	if !n.senderFits(f, m.Subject) {
		return
	}
	switch {
	case f.Kind == wire.Pong, f.Kind == wire.Goodbye && !reply:
		n.heard(f)
	case reply: // only answers have business here
		n.misplaced(f, m.Subject)
	case f.Kind == wire.Ping:
		n.pinged(f, m)
	case f.Kind == wire.Call:
		n.serveCall(f)
	case f.Kind == wire.Cast:
		n.serveCast(f)
	case f.Kind == wire.Cancel:
		n.inbound.cancel(callKey{f.From, f.FromNumber, f.ID})
	case f.Kind == wire.CancelAll:
		n.inbound.cancelUpTo(f.From, f.FromNumber, f.ID)
	case f.Kind == wire.Tell:
		n.told(f)
	case f.Kind == wire.Watch:
		n.serveWatch(f)
	case f.Kind == wire.Unwatch:
		n.watchers.forget(watchKey{f.From, f.FromNumber, f.ID})
	case f.Kind == wire.Terminated:
		n.terminated(f)
	case f.Kind == wire.TransportOp:
		n.serveTransport(f)
	default:
		n.misplaced(f, m.Subject)
	}
}

// senderFits: an answer goes to the subject of the name in the frame, so the
// name must be one.
func (n *Node) senderFits(f *wire.Frame, subject string) bool {
	if validName(f.From) && f.FromNumber != 0 {
		return true
	}
	n.misplaced(f, subject)
	return false
}

func (n *Node) pinged(f *wire.Frame, m *nats.Msg) {
	pong := &wire.Frame{Kind: wire.Pong, ID: f.ID, From: n.name, FromNumber: n.number}
	if m.Reply != "" {
		n.answer(m.Reply, pong)
	}
	if f.From != n.name { // a node that starts under this name only asks; it has not joined
		n.heard(f)
	}
}

// answered completes what waits for an answer.
func (n *Node) answered(f *wire.Frame) {
	if f.Kind == wire.Error && f.Code == wire.NameTaken && f.ID == n.number {
		n.lose(0)
		return
	}
	if n.watches.acknowledged(n, f) {
		return
	}
	p := n.pending.take(f.ID)
	if p == nil {
		n.stats.late.Add(1)
		return
	}
	if f.Kind == wire.Error {
		p.done(reply{err: remoteError(p.target, p.function, f)})
		return
	}
	p.done(reply{codec: f.Codec, payload: f.Payload})
}

// unreachable handles NATS's "no responders" by the token of what was sent.
func (n *Node) unreachable(token string) {
	switch {
	case strings.HasPrefix(token, pingToken):
		number, name, _ := strings.Cut(token[len(pingToken):], "-")
		if question, err := strconv.ParseUint(number, 36, 64); err == nil {
			n.nobodyThere(name, question)
		}
	case strings.HasPrefix(token, watchToken):
		n.nobodyThere(token[len(watchToken):], 0)
		n.watches.unreachable(n, token[len(watchToken):])
	default:
		n.unreachableCall(token)
	}
}

func (n *Node) malformed(subject string, err error) {
	n.stats.malformed.Add(1)
	if ok, more := n.quiet.malformed.allow(time.Now().UnixNano()); ok {
		n.log.Warn("a frame was refused", "subject", subject, "error", err, "kept_back", more)
	}
}

// misplaced is a well-formed frame that has no business where it arrived.
func (n *Node) misplaced(f *wire.Frame, subject string) {
	n.stats.malformed.Add(1)
	if ok, more := n.quiet.malformed.allow(time.Now().UnixNano()); ok {
		n.log.Warn("a frame was refused: not expected there", "subject", subject, "kind", f.Kind.String(), "from", f.From, "kept_back", more)
	}
}
