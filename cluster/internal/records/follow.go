package records

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Reader hears of records. Its methods are called one after another, on the goroutine
// of Follow.
type Reader interface {
	Reset()        // forget everything: all records are told again
	Record(Record) // the last record of a subject, then each new one
	Caught()       // after Reset: what there is has been told
}

// Times of a follower. A consumer that says nothing for two heartbeats is given up:
// its server may be gone, and nothing else would tell.
const (
	heartbeat = time.Second
	expiry    = 30 * time.Second
	idle      = 15 * time.Second // after which the server removes the consumer of a reader that is gone
	rest      = 200 * time.Millisecond
)

var errGap = errors.New("records were lost on the way")

// Follow tells to the last record of each subject that one of filters matches, and then
// each new one in order, until ctx ends. Whatever goes wrong, it begins anew with
// Reset. Why not an ordered consumer of nats.go, which goes on where it was: what has
// expired and lost its marker while nobody read would never be told.
func (r *Records) Follow(ctx context.Context, filters []string, to Reader) {
	subjects := make([]string, len(filters))
	for i, f := range filters {
		subjects[i] = r.prefix + f
	}
	for ctx.Err() == nil {
		err := r.follow(ctx, subjects, to)
		if ctx.Err() != nil {
			return
		}
		r.reset()
		r.parts.Log.Debug("reading durable records begins anew", "why", err)
		pause := time.NewTimer(rest)
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
		pause.Stop()
	}
}

// A consumer that needs no acknowledgement, in memory, on one server: it costs the
// cluster nothing when it is lost, because the next one starts from the beginning. Its
// messages are numbered without gaps; a number that is missing is a message that NATS
// dropped on the way.

// follow reads until something fails.
func (r *Records) follow(ctx context.Context, subjects []string, to Reader) error {
	step, done := context.WithTimeout(ctx, limit)
	defer done()
	js, err := r.open(step)
	if err != nil {
		return err
	}
	consumer, err := js.CreateConsumer(step, r.name, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, AckPolicy: jetstream.AckNonePolicy,
		FilterSubjects: subjects, InactiveThreshold: idle, MemoryStorage: true, Replicas: 1,
	})
	if err != nil {
		return err
	}
	messages, err := consumer.Messages(jetstream.PullHeartbeat(heartbeat), jetstream.PullExpiry(expiry))
	if err != nil {
		return err
	}
	defer messages.Stop()
	to.Reset()
	var caught atomic.Bool
	var heard atomic.Uint64
	if consumer.CachedInfo().NumPending == 0 {
		caught.Store(true)
		to.Caught()
	}
	ctx, end := context.WithCancelCause(ctx)
	var asking sync.WaitGroup
	defer asking.Wait()
	defer end(nil)
	// goroutine: owner: follow, which waits for it; ends with ctx
	asking.Go(func() {
		end(behind(ctx, &caught, &heard, func(ctx context.Context) (uint64, error) { return r.lastOf(ctx, subjects) }))
	})
	for count := uint64(1); ; count++ {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		if err != nil {
			return err
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		if meta.Sequence.Consumer != count {
			return errGap
		}
		to.Record(Record{
			Subject: strings.TrimPrefix(m.Subject(), r.prefix), Seq: meta.Sequence.Stream, Body: m.Data(),
			Gone: m.Headers().Get(reasonHead) != "", Last: meta.NumPending == 0,
		})
		heard.Store(meta.Sequence.Stream)
		if meta.NumPending == 0 && caught.CompareAndSwap(false, true) {
			to.Caught()
		}
	}
}

// List returns the last record of every subject that filter matches, by sequence.
// Errors as of Put.
func (r *Records) List(ctx context.Context, filter string) (list []Record, err error) {
	err = r.try(ctx, filter, func(step context.Context, js jetstream.JetStream) error {
		list = nil
		consumer, err := js.CreateConsumer(step, r.name, jetstream.ConsumerConfig{
			DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, AckPolicy: jetstream.AckNonePolicy,
			FilterSubject: r.prefix + filter, InactiveThreshold: idle, MemoryStorage: true, Replicas: 1,
		})
		if err != nil {
			return err
		}
		defer func() { _ = js.DeleteConsumer(step, r.name, consumer.CachedInfo().Name) }() // else it goes when it is idle
		for left := consumer.CachedInfo().NumPending; left > 0; {
			batch, err := consumer.Fetch(int(min(left, listBatch)), jetstream.FetchContext(step))
			if err != nil {
				return err
			}
			got := left
			for m := range batch.Messages() {
				meta, err := m.Metadata()
				if err != nil {
					return err
				}
				left = meta.NumPending
				if m.Headers().Get(reasonHead) == "" {
					list = append(list, Record{Subject: strings.TrimPrefix(m.Subject(), r.prefix), Seq: meta.Sequence.Stream, Body: m.Data()})
				}
			}
			if err := batch.Error(); err != nil {
				return err
			}
			if got == left {
				return errGap
			}
		}
		return nil
	})
	return list, err
}

const listBatch = 512
