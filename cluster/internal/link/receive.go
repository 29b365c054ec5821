package link

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/loopmesh/loopmesh/internal/wire"
)

// Limits of what waits to be looked at, before NATS drops the newest.
const (
	pendingFrames = 1 << 19
	pendingBytes  = 256 << 20
)

// Subscribe opens the subscriptions of the node: its own subject, that of all
// members, and more (subject and handler of the caller's choice).
func (l *Link) Subscribe(more map[string]nats.MsgHandler) error {
	handlers := map[string]nats.MsgHandler{l.subjects.all: l.Receiver(), l.subjects.members: l.BroadcastReceiver()}
	for subject, handle := range more {
		handlers[subject] = handle
	}
	for subject, handle := range handlers {
		sub, err := l.conn.Subscribe(subject, handle)
		if err == nil {
			err = sub.SetPendingLimits(pendingFrames, pendingBytes)
		}
		if err != nil {
			return fmt.Errorf("subscribing to %s: %w", subject, err)
		}
		l.subs = append(l.subs, sub)
	}
	return nil
}

// Flush waits until NATS has taken all that was sent.
func (l *Link) Flush(ctx context.Context) error { return l.conn.FlushWithContext(ctx) }

// Ask sends a frame to whoever listens under a node's name and waits for the
// answer, before this node has subscribed to anything. absent: nobody listens.
func (l *Link) Ask(ctx context.Context, node string, f *wire.Frame) (answer []byte, absent bool, err error) {
	msg, err := l.conn.RequestWithContext(ctx, l.subjects.of(node), f.Append(nil))
	if errors.Is(err, nats.ErrNoResponders) {
		return nil, true, nil
	}
	if err != nil {
		return nil, false, err
	}
	return msg.Data, false, nil
}

// Receiver handles everything on the node's own subject, on one goroutine, in
// order. It never waits: work goes to loops.
func (l *Link) Receiver() nats.MsgHandler {
	var f wire.Frame
	names := &wire.Names{}
	return func(m *nats.Msg) {
		token, reply := strings.CutPrefix(m.Subject, l.subjects.reply)
		if reply && len(m.Data) == 0 && m.Header.Get("Status") == "503" {
			l.handlers.Unreachable(token)
			return
		}
		l.stats.framesIn.Add(1)
		in := Arrival{m.Subject, m.Reply, reply}
		if err := wire.Decode(m.Data, &f, names); err != nil {
			l.Malformed(m.Subject, err)
			return
		}
		if f.Kind == wire.Batch {
			l.unpack(&f, names, in)
			return
		}
		l.handlers.Frame(&f, in)
	}
}

// BroadcastReceiver handles what is sent to all members.
func (l *Link) BroadcastReceiver() nats.MsgHandler {
	var f wire.Frame
	names := &wire.Names{}
	return func(m *nats.Msg) {
		l.stats.framesIn.Add(1)
		if err := wire.Decode(m.Data, &f, names); err != nil {
			l.Malformed(m.Subject, err)
			return
		}
		l.handlers.Broadcast(&f, Arrival{m.Subject, m.Reply, false})
	}
}

// unpack handles the frames of a batch one after another. Receiving goroutine.
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
		case f.Kind != wire.Cast && f.Kind != wire.Tell:
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

// Misplaced counts and logs a well-formed frame that has no business where it
// arrived.
func (l *Link) Misplaced(f *wire.Frame, subject string) {
	l.stats.malformed.Add(1)
	if ok, more := l.quiet.malformed.Allow(); ok {
		l.log.Warn("a frame was refused: not expected there", "subject", subject, "kind", f.Kind.String(), "from", f.From, "kept_back", more)
	}
}

// SenderFits reports whether a frame names a node as its sender; if not, the
// frame is counted as misplaced. Why: an answer goes to the subject made of that
// name.
func (l *Link) SenderFits(f *wire.Frame, subject string) bool {
	if wire.ValidName(f.From) && f.FromNumber != 0 {
		return true
	}
	l.Misplaced(f, subject)
	return false
}
