package link

import (
	"github.com/nats-io/nats.go"

	"github.com/loopmesh/loopmesh/internal/wire"
)

// The bulk connection carries the bytes of streams. Why: a heartbeat must not wait
// behind megabytes, and a server that disconnects a slow client must not cut the node
// off the cluster. Calls and messages stay on the control connection: their order, and
// the knowledge of which of them arrived, hold on one connection only, and credits and
// limits bound them.

// HeadRoom is how many bytes PublishBulk may use in front of a payload.
const HeadRoom = 256

// PublishBulk sends f to a node on the bulk connection, with the bytes behind the first
// HeadRoom of buf as its payload; buf may be nil. The head of the frame is written in
// front of them, so that the bytes are copied by nats.go only; they stay as they are.
// Errors as of Send.
func (l *Link) PublishBulk(to Peer, f *wire.Frame, buf []byte) error {
	if buf == nil {
		buf = make([]byte, HeadRoom)
	}
	var room [HeadRoom]byte
	head := f.AppendHead(room[:0], len(buf)-HeadRoom)
	message := buf
	if at := HeadRoom - len(head); at >= 0 {
		message = buf[at:]
		copy(message, head)
	} else { // longer than any name that is valid now makes it
		message = append(head, buf[HeadRoom:]...)
	}
	if len(message) > l.maxFrame {
		return tooLong(len(message), l.maxFrame)
	}
	if err := l.bulk.Publish(l.subjects.BulkTo(to.Name, to.Number), "", message); err != nil {
		l.stats.sendErrors.Add(1)
		return sendError(err)
	}
	l.stats.framesOut.Add(1)
	return nil
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
