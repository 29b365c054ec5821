package records

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"slices"
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

// Batch writes all records or none, once, and asks for room before, as Add does:
// ErrConflict when an expectation is not so, ErrTooLarge for a record that is, ErrBehind. It
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
	leave, err := r.enter(ctx, writes)
	if err != nil {
		return r.judge(writes[0].Subject, err)
	}
	defer leave()
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
		r.answered.Add(1)
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

// Why batches with one guard go one after another. A server of several refuses a batch whose
// guard another batch that is under way names too, as if the guard had changed: of all
// that are sent at once one is stored, and each of the others is sent again, for nothing. The
// guard is often one for all (the token of an owner), and the more send, the less is stored.

// lanes is how many guards are told apart; two that share a lane wait for each other.
const lanes = 64

// newLanes makes them free.
func newLanes() (all [lanes]chan struct{}) {
	for i := range all {
		all[i] = make(chan struct{}, 1)
	}
	return all
}

// enter waits until no other batch of this process is under way with the first guard of
// these writes, and returns what lets the next one in. Without a guard it does not wait. One
// that waits until its time is over while the store answers others has not to say that
// nobody answers: it is ErrBehind.
func (r *Records) enter(ctx context.Context, writes []Write) (leave func(), err error) {
	i := slices.IndexFunc(writes, func(w Write) bool { return w.Guard != "" && w.Guard != w.Subject })
	if i < 0 {
		return func() {}, nil
	}
	before := r.answered.Load()
	lane := r.lanes[maphash.String(laneSeed, writes[i].Guard)%lanes]
	select {
	case lane <- struct{}{}:
		return func() { <-lane }, nil
	case <-ctx.Done():
		if r.answered.Load() != before {
			return nil, fmt.Errorf("%w: nothing was written", ErrBehind)
		}
		return nil, context.Cause(ctx)
	}
}

var laneSeed = maphash.MakeSeed()
