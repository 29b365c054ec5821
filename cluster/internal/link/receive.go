package link

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/loopmesh/loopmesh/internal/wire"
)

// From a NATS message to a frame. Everything on one subscription passes one
// goroutine, in order, and reuses one Frame: what a handler keeps of it, it has to
// copy, except the payload, which is the message's own memory.
//
// The sender is read from the subject, because with keys the server has checked it. A
// frame that names another sender is counted as misplaced and dropped (SenderFits).

// Subscribe opens the subscriptions of the node: its own subjects and that of all
// members.
func (l *Link) Subscribe() error {
	receive := l.Receiver()
	for subject, handle := range map[string]nats.MsgHandler{l.subjects.Life: receive, l.subjects.Members: l.BroadcastReceiver()} {
		if err := l.conn.Subscribe(subject, handle); err != nil {
			return err
		}
	}
	return l.bulk.Subscribe(l.subjects.Bytes, l.bulkReceiver())
}

// SubscribeName opens the subscription of the node's name: others that want the name
// find somebody there.
func (l *Link) SubscribeName() error {
	return l.conn.Subscribe(l.subjects.Names, l.BroadcastReceiver())
}

// Flush waits until NATS has taken all that was sent.
func (l *Link) Flush(ctx context.Context) error {
	_, err := l.conn.Ask(ctx)
	return err
}

// Receiver handles everything on the node's own subject, on one goroutine, in
// order. It never waits: work goes to loops.
func (l *Link) Receiver() nats.MsgHandler {
	var f wire.Frame
	names, from := &wire.Names{}, l.senders()
	return func(m *nats.Msg) {
		if token, ok := l.subjects.Token(m.Subject); ok && len(m.Data) == 0 && m.Header.Get("Status") == "503" {
			l.handlers.Unreachable(token)
			return
		}
		l.stats.framesIn.Add(1)
		in, ok := from(m)
		if !ok {
			l.Malformed(m.Subject, errNoSender)
			return
		}
		if err := wire.Decode(m.Data, &f, names); err != nil {
			l.Malformed(m.Subject, err)
			return
		}
		if f.Kind == wire.Batch {
			l.unpack(&f, names, in)
		} else {
			l.handlers.Frame(&f, in)
		}
		l.handlers.End()
	}
}

// BroadcastReceiver handles what is sent to all members.
func (l *Link) BroadcastReceiver() nats.MsgHandler {
	var f wire.Frame
	names, from, pace := &wire.Names{}, l.senders(), pace{}
	return func(m *nats.Msg) {
		l.stats.framesIn.Add(1)
		in, ok := from(m)
		if !ok {
			l.Malformed(m.Subject, errNoSender)
			return
		}
		if !pace.allow(in.Sender, time.Now()) {
			l.Malformed(m.Subject, errTooOften)
			return
		}
		if err := wire.Decode(m.Data, &f, names); err != nil {
			l.Malformed(m.Subject, err)
			return
		}
		l.handlers.Broadcast(&f, in)
	}
}

var errNoSender = errors.New("the subject names no sender")

// maxSenders bounds the subjects whose sender is remembered.
const maxSenders = 4096

// senders reads who sent a message from its subject. A node uses one subject for
// all that it sends to this one, so each is read once.
func (l *Link) senders() func(*nats.Msg) (Arrival, bool) {
	known := map[string]Arrival{}
	return func(m *nats.Msg) (Arrival, bool) {
		in, ok := known[m.Subject]
		if !ok {
			name, rights, good := l.subjects.Sender(m.Subject)
			if !good || !wire.ValidName(name) {
				return Arrival{}, false
			}
			if len(known) >= maxSenders {
				clear(known)
			}
			in = Arrival{Subject: m.Subject, Sender: name, Rights: l.rights(rights)}
			known[m.Subject] = in
		}
		in.Reply = m.Reply
		return in, true
	}
}

// unpack handles the frames of a batch one after another. Only kinds that nobody
// answers may be in one; another kind there is the work of a faulty or hostile node.
// Receiving goroutine.
func (l *Link) unpack(f *wire.Frame, names *wire.Names, in Arrival) {
	rest := f.Payload
	if len(rest) == 0 {
		l.Malformed(in.Subject, fmt.Errorf("%w: an empty batch", wire.ErrShort))
		return
	}
	for first := true; len(rest) > 0; first = false {
		if !first {
			l.stats.framesIn.Add(1)
		}
		one, more, err := wire.NextInBatch(rest)
		if err != nil {
			l.Malformed(in.Subject, err)
			return
		}
		rest = more
		if err := wire.Decode(one, f, names); err != nil {
			l.Malformed(in.Subject, err)
			continue
		}
		switch {
		case f.Kind != wire.Cast && f.Kind != wire.Tell && f.Kind != wire.Sync:
			l.Misplaced(f, in.Subject)
			continue
		case f.Kind == wire.Cast && f.Op != wire.Soon:
			f.Payload = bytes.Clone(f.Payload) // a timer must not keep the rest of the batch in memory
		}
		l.handlers.Frame(f, in)
	}
}

// Malformed counts and logs a frame that cannot be read.
func (l *Link) Malformed(subject string, err error) {
	l.stats.malformed.Add(1)
	if ok, more := l.quiet.malformed.Allow(); ok {
		l.log.Warn("a frame was refused", "subject", subject, "error", err, "kept_back", more)
	}
}

// Misplaced counts and logs a well-formed frame that is not expected where it arrived.
func (l *Link) Misplaced(f *wire.Frame, subject string) {
	l.stats.malformed.Add(1)
	if ok, more := l.quiet.malformed.Allow(); ok {
		l.log.Warn("a frame was refused: not expected there", "subject", subject, "kind", f.Kind.String(), "from", f.From, "kept_back", more)
	}
}

// SenderFits reports whether the sender a frame names is the one its subject names;
// if not, the frame is counted as misplaced. Why: with keys, the server lets a node
// publish in its own name only; what the frame says is checked by nobody else.
func (l *Link) SenderFits(f *wire.Frame, in Arrival) bool {
	if f.From == in.Sender && f.FromNumber != 0 {
		return true
	}
	l.Misplaced(f, in.Subject)
	return false
}
