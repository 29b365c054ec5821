package records

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/loopmesh/loopmesh/cluster/internal/admit"
)

// Write is one record of a Batch.
type Write struct {
	Subject string
	Body    []byte
	Guard   string // subject whose last sequence has to be Expect, and nobody reads this record; "": Subject
	Expect  uint64
	TTL     time.Duration
}

const (
	batchID       = "Nats-Batch-Id"
	batchSequence = "Nats-Batch-Sequence"
	batchCommit   = "Nats-Batch-Commit"
	maxBatch      = 500 // the server takes a thousand
)

// Batch writes all records or none, once, and asks for room before, as Add does:
// ErrConflict when an expectation is not so, ErrTooLarge for a record that is, ErrBehind. It
// is sent once only. Any other error may mean that it was written: who needs to know
// writes a unique record with it and reads that.
//
// The form is JetStream's atomic batch: the messages carry the id of the batch and their
// number, the last one commits and is answered. They go over one connection, so they
// arrive in order. line is a subject that many batches compare or write, or "": those with
// one line go one after another, and as many together as can (together.go).
func (r *Records) Batch(ctx context.Context, line string, writes []Write) error {
	if len(writes) == 0 || len(writes) > maxBatch {
		return fmt.Errorf("%w: %d records in one step, the most is %d", ErrFull, len(writes), maxBatch)
	}
	size := admit.Write{Messages: len(writes)}
	for _, w := range writes {
		if len(w.Body) > r.parts.MaxPayload {
			return tooLarge(w.Subject, len(w.Body), r.parts.MaxPayload)
		}
		size.Bytes += r.size(w.Subject, w.Body)
	}
	end, err := r.admit(ctx, admit.More, size)
	if err != nil {
		return err
	}
	defer end()
	js, err := r.open(ctx)
	if err != nil {
		return r.judge(writes[0].Subject, err)
	}
	send := func(all []Write) (*sent, error) { return r.send(js.Conn(), all) }
	if line != "" {
		return r.judge(writes[0].Subject, r.lines.batch(ctx, line, writes, size.Bytes, send))
	}
	s, err := send(writes)
	if err == nil {
		err = s.wait(ctx, nil)
	}
	s.end()
	return r.judge(writes[0].Subject, err)
}

// sent is a batch that waits for its answer.
type sent struct {
	answer <-chan *nats.Msg
	broken <-chan nats.Status // the way to the server is: the answer does not come any more
	end    func()             // has to be called when nobody waits any more
}

// send sends a batch, and does not wait. Why not a request of package nats: its answer can be
// waited for by the goroutine only that made it, and only until one ctx ends; here another
// goroutine may take over (lead.go).
func (r *Records) send(nc *nats.Conn, writes []Write) (*sent, error) {
	broken, inbox, answer := nc.StatusChanged(nats.RECONNECTING, nats.CLOSED), nc.NewInbox(), make(chan *nats.Msg, 1)
	s := &sent{answer: answer, broken: broken, end: func() { nc.RemoveStatusListener(broken) }}
	sub, err := nc.ChanSubscribe(inbox, answer)
	if err != nil {
		return s, err
	}
	s.end = func() {
		nc.RemoveStatusListener(broken)
		_ = sub.Unsubscribe() // of a connection that is closed it is gone already
	}
	id := Nonce()
	for i, w := range writes {
		m := nats.NewMsg(r.prefix + w.Subject)
		m.Data = w.Body
		m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(w.Expect, 10))
		if w.isMark() {
			m.Header.Set(jetstream.ExpectedLastSubjSeqSubjHeader, r.prefix+w.Guard)
		}
		if w.TTL > 0 {
			m.Header.Set(jetstream.MsgTTLHeader, strconv.FormatInt(int64(max(w.TTL, time.Second)/time.Second), 10)+"s")
		}
		m.Header.Set(batchID, id)
		m.Header.Set(batchSequence, strconv.Itoa(i+1))
		if i == len(writes)-1 {
			m.Header.Set(batchCommit, "1")
			m.Reply = inbox
		}
		if err := nc.PublishMsg(m); err != nil {
			return s, err
		}
	}
	return s, nil
}

// errLeft: who waited for an answer had no more time.
var errLeft = errors.New("the wait for an answer has ended")

// wait waits for the answer, until ctx ends, or late comes.
func (s *sent) wait(ctx context.Context, late <-chan time.Time) error {
	select {
	case m := <-s.answer:
		var ack struct {
			Error *jetstream.APIError `json:"error"`
		}
		switch {
		case len(m.Data) == 0 && m.Header.Get("Status") == "503":
			return nats.ErrNoResponders
		case json.Unmarshal(m.Data, &ack) != nil:
			return fmt.Errorf("an answer that cannot be read: %.100q", m.Data)
		case ack.Error != nil:
			return ack.Error
		}
		return nil
	case <-s.broken:
		return nats.ErrDisconnected
	case <-late:
		return nats.ErrTimeout
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errLeft, context.Cause(ctx))
	}
}
