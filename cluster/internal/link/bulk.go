package link

import (
	"github.com/nats-io/nats.go"

	"github.com/loopmesh/loopmesh/internal/wire"
)

// The bulk connection carries the bytes of streams. Why: a sign of life must not wait
// behind megabytes, and a server that disconnects a client for being slow must not cut
// the node off the cluster. Calls and messages stay on the control connection: their
// order, and the proofs of what became of them, hold on one connection only, and
// credits and limits bound them.

// PublishBulk sends f to a node on the bulk connection. buf is room to encode into,
// and is returned, longer if need be. Errors as of Send.
func (l *Link) PublishBulk(to Peer, f *wire.Frame, buf []byte) ([]byte, error) {
	buf = f.Append(buf[:0])
	if len(buf) > l.maxFrame {
		return buf, tooLong(len(buf), l.maxFrame)
	}
	if err := l.bulk.Publish(l.subjects.BulkTo(to.Name, to.Number), "", buf); err != nil {
		l.stats.sendErrors.Add(1)
		return buf, sendError(err)
	}
	l.stats.framesOut.Add(1)
	return buf, nil
}

// bulkReceiver handles what comes on the bulk connection, on a goroutine of its own.
func (l *Link) bulkReceiver() nats.MsgHandler {
	var f wire.Frame
	names, from := &wire.Names{}, l.senders()
	return func(m *nats.Msg) {
		l.stats.framesIn.Add(1)
		in, ok := from(m)
		if !ok {
			l.Malformed(m.Subject, errNoSender)
			return
		}
		switch err := wire.Decode(m.Data, &f, names); {
		case err != nil:
			l.Malformed(m.Subject, err)
		case f.Kind != wire.Stream:
			l.Misplaced(&f, m.Subject)
		default:
			l.handlers.Frame(&f, in)
		}
	}
}

// MaxFrame is what fits into one message of the NATS server.
func (l *Link) MaxFrame() int { return l.maxFrame }
