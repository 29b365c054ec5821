package records

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Write is one record of a Batch.
type Write struct {
	Subject string
	Body    []byte
	Guard   string // subject whose last sequence has to be Expect; "": Subject
	Expect  uint64
	TTL     time.Duration
}

const (
	batchID       = "Nats-Batch-Id"
	batchSequence = "Nats-Batch-Sequence"
	batchCommit   = "Nats-Batch-Commit"
	maxBatch      = 500 // the server takes a thousand
)

// Batch writes all records or none, once: ErrConflict when an expectation is not so. It
// is sent once only. Any other error may mean that it was written: who needs to know
// writes a unique record with it and reads that.
//
// The form is JetStream's atomic batch: the messages carry the id of the batch and their
// number, the last one commits and is answered. They go over one connection, so they
// arrive in order.
func (r *Records) Batch(ctx context.Context, writes []Write) error {
	if len(writes) == 0 || len(writes) > maxBatch {
		return fmt.Errorf("%w: %d records in one step, the most is %d", ErrFull, len(writes), maxBatch)
	}
	js, err := r.open(ctx)
	if err != nil {
		return r.judge(writes[0].Subject, err)
	}
	id := Nonce()
	for i, w := range writes {
		m := nats.NewMsg(r.prefix + w.Subject)
		m.Data = w.Body
		m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(w.Expect, 10))
		if w.Guard != "" && w.Guard != w.Subject {
			m.Header.Set(jetstream.ExpectedLastSubjSeqSubjHeader, r.prefix+w.Guard)
		}
		if w.TTL > 0 {
			m.Header.Set(jetstream.MsgTTLHeader, strconv.FormatInt(int64(max(w.TTL, time.Second)/time.Second), 10)+"s")
		}
		m.Header.Set(batchID, id)
		m.Header.Set(batchSequence, strconv.Itoa(i+1))
		if i < len(writes)-1 {
			if err := js.Conn().PublishMsg(m); err != nil {
				return r.judge(w.Subject, err)
			}
			continue
		}
		m.Header.Set(batchCommit, "1")
		answer, err := js.Conn().RequestMsgWithContext(ctx, m)
		if err != nil {
			return r.judge(w.Subject, err)
		}
		var ack struct {
			Error *jetstream.APIError `json:"error"`
		}
		if err := json.Unmarshal(answer.Data, &ack); err != nil {
			return r.judge(w.Subject, err)
		}
		if ack.Error != nil {
			return r.judge(w.Subject, ack.Error)
		}
	}
	return nil
}
