package records

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/loopmesh/loopmesh/cluster/internal/admit"
	"github.com/loopmesh/loopmesh/cluster/internal/engine"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
	"github.com/loopmesh/loopmesh/cluster/internal/subject"
)

// Errors beside those of package engine.
var (
	// ErrConflict: the last record of the subject is another one than expected.
	ErrConflict = errors.New("the record was changed by somebody else")
	// ErrBehind: a batch had to wait for others of this process until its time was over. The
	// store has answered those; nothing of this one was sent.
	ErrBehind = errors.New("others of this process write first")
	// ErrLate: the time of a batch was over when it was sent at last, behind others of this
	// process that the store has answered. It may have been written.
	ErrLate = errors.New("others of this process wrote first")
	// ErrAbsent: the subject has no record.
	ErrAbsent = errors.New("no such record")
	// ErrFull: the store of the NATS server has no room.
	ErrFull = errors.New("the store of the NATS server is full")
)

const (
	limit      = 5 * time.Second // of one operation: what it waits for is a majority
	attempt    = 1500 * time.Millisecond
	again      = 50 * time.Millisecond
	markers    = 10 * time.Minute // that a record has expired can be read so long
	reasonHead = "Nats-Marker-Reason"
)

// Records is a stream as one node uses it. Of and WorkOf return it. Safe from any
// goroutine.
type Records struct {
	parts  *inside.Parts
	name   string // of the stream
	prefix string // of the subjects
	config func() jetstream.StreamConfig

	mu     sync.Mutex
	js     jetstream.JetStream // nil until it is needed, and after its connection was replaced
	stream jetstream.Stream

	looking chan struct{} // full while somebody reads the levels
	lines   lines         // of batches that have a guard in common
	gate    gate
}

type (
	sharedKey     struct{}
	sharedWorkKey struct{}
)

// Of is the records of the cluster through a node.
func Of(parts *inside.Parts) *Records {
	return inside.Shared(parts, sharedKey{}, func() *Records {
		r := &Records{parts: parts, name: StreamName(parts.Cluster), prefix: Prefix(parts.Cluster), looking: make(chan struct{}, 1)}
		r.config, r.gate.Gate, r.lines.by = r.truth, admit.NewGate(), map[string]*line{}
		return r
	})
}

// WorkOf is the queues of the cluster through a node: a stream of its own
// (<cluster>-WORK), from which a message is gone when it was acknowledged.
//
//	<cluster>.work.cmd.<queue>.<id>   a command that waits
//	<cluster>.work.end.<queue>.<id>   that it ran, or is dead
func WorkOf(parts *inside.Parts) *Records {
	return inside.Shared(parts, sharedWorkKey{}, func() *Records {
		r := &Records{parts: parts, name: WorkName(parts.Cluster), prefix: WorkPrefix(parts.Cluster), looking: make(chan struct{}, 1)}
		r.config, r.gate.Gate, r.lines.by = r.work, admit.NewGate(), map[string]*line{}
		return r
	})
}

// StreamName is the stream of a cluster.
func StreamName(cluster string) string { loops, _ := subject.Streams(cluster); return loops }

// Prefix begins every subject of a cluster's records.
func Prefix(cluster string) string { return subject.Records(cluster) }

// WorkName and WorkPrefix are the same for the queues.
func WorkName(cluster string) string { _, work := subject.Streams(cluster); return work }

// WorkPrefix begins every subject of the queues.
func WorkPrefix(cluster string) string { return subject.Work(cluster) }

// Record is what a subject holds.
type Record struct {
	Subject string // without the prefix
	Seq     uint64
	Body    []byte
	Gone    bool // it has expired; Seq is the one to expect
	Last    bool // for Follow: no other record waits
}

// Nonce makes a record unique, see the package.
func Nonce() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the process instead
	return hex.EncodeToString(b[:])
}

// Token is text as one token of a subject: what no token may hold is written as = and
// two hexadecimal digits. Different texts have different tokens.
func Token(text string) string {
	var b []byte
	for _, c := range []byte(text) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
			b = append(b, c)
		default:
			b = append(b, '=')
			b = append(b, hex.EncodeToString([]byte{c})...)
		}
	}
	return string(b)
}

// How Put finds out what happened. An attempt ends in one of three ways: it was stored,
// it was refused because the record is another one, or nobody knows. After the last one
// each further attempt looks first. If the record is the own body, it was stored. If its
// sequence is not the expected one, somebody else was first. If it is still the
// expected one, the write has not happened yet, but may still be under way: it is
// repeated with the same expectation, of which the server lets one come true; when the
// repetition is refused, the look decides again.

// Put writes a record when the last one of its subject has the sequence expect, 0 for
// none; its own sequence comes back. It is for what renews, ends or takes the place of
// something; what makes the store grow is an Add. ttl, in whole seconds, removes it later; 0 never.
// It waits at most five seconds. Errors: ErrConflict, ErrFull, ErrNoQuorum (it may have
// been written), ErrNoJetStream, ErrDenied, ErrTooLarge, ErrClosed, and ctx's.
func (r *Records) Put(ctx context.Context, subject string, body []byte, expect uint64, ttl time.Duration) (uint64, error) {
	return r.put(ctx, subject, subject, body, expect, ttl)
}

// PutBeside is Put that compares the sequence of another subject. It is for streams that
// refuse a second record of a subject (WorkOf): then ErrConflict says that one of both
// subjects is in use.
func (r *Records) PutBeside(ctx context.Context, subject, other string, body []byte, expect uint64) (uint64, error) {
	return r.put(ctx, subject, other, body, expect, 0)
}

// put is Put with the sequence of the subject guard.
func (r *Records) put(ctx context.Context, subject, guard string, body []byte, expect uint64, ttl time.Duration) (uint64, error) {
	if len(body) > r.parts.MaxPayload {
		return 0, tooLarge(subject, len(body), r.parts.MaxPayload)
	}
	m := nats.NewMsg(r.prefix + subject)
	m.Data = body
	m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(expect, 10))
	if guard != subject {
		m.Header.Set(jetstream.ExpectedLastSubjSeqSubjHeader, r.prefix+guard)
	}
	if ttl > 0 {
		m.Header.Set(jetstream.MsgTTLHeader, strconv.FormatInt(int64(max(ttl, time.Second)/time.Second), 10)+"s")
	}
	var seq uint64
	unsure := false
	err := r.try(ctx, subject, func(ctx context.Context, js jetstream.JetStream) error {
		if unsure {
			have, err := r.last(ctx, subject)
			switch {
			case err == nil && !have.Gone && string(have.Body) == string(body):
				seq = have.Seq
				return nil
			case guard == subject && (err == nil && have.Seq != expect || errors.Is(err, ErrAbsent) && expect != 0):
				return ErrConflict
			case err != nil && !errors.Is(err, ErrAbsent):
				return err
			}
		}
		ack, err := js.PublishMsg(ctx, m, jetstream.WithRetryAttempts(0))
		if err == nil {
			seq = ack.Sequence
			return nil
		}
		if unsure && isConflict(err) && guard == subject {
			// The write of before may have come between the look and this one.
			return errUnsure
		}
		unsure = unsure || !isConflict(err)
		return err
	})
	return seq, err
}

func tooLarge(subject string, size, most int) error {
	return fmt.Errorf("%w: the record %s has %d bytes, the most is %d", fault.ErrTooLarge, subject, size, most)
}

// errUnsure makes try look once more.
var errUnsure = errors.New("an earlier write may have happened")

// Get reads the last record of a subject. Errors: ErrAbsent, and those of Put.
func (r *Records) Get(ctx context.Context, subject string) (rec Record, err error) {
	err = r.try(ctx, subject, func(ctx context.Context, _ jetstream.JetStream) (err error) {
		rec, err = r.last(ctx, subject)
		return err
	})
	return rec, err
}

// last asks the leader once.
func (r *Records) last(ctx context.Context, subject string) (Record, error) {
	r.mu.Lock()
	stream := r.stream
	r.mu.Unlock()
	if stream == nil {
		return Record{}, nats.ErrNoResponders // somebody has closed it meanwhile: try again
	}
	m, err := stream.GetLastMsgForSubject(ctx, r.prefix+subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return Record{}, ErrAbsent
	}
	if err != nil {
		return Record{}, err
	}
	return Record{Subject: subject, Seq: m.Sequence, Body: m.Data, Gone: m.Header.Get(reasonHead) != ""}, nil
}

// An operation has to end within the limit, and nobody but the client ends it: NATS does
// not answer a request that came before the stream has a leader, and drops one when the
// leader is cut off. So it is cut into attempts, each with a time of its own.

// try repeats one until it has an answer or the limit is over. What NATS says when
// there is no leader, no connection or no answer is no answer.
func (r *Records) try(ctx context.Context, subject string, one func(context.Context, jetstream.JetStream) error) error {
	return r.tryTo(ctx, subject, "it may have been written", one)
}

// tryTo is try with the text of what no answer means.
func (r *Records) tryTo(ctx context.Context, subject, unsure string, one func(context.Context, jetstream.JetStream) error) error {
	if ctx == nil {
		return fault.Config("a durable operation needs a ctx, not nil: use context.Background()")
	}
	wait, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var before error // of the last attempt that was not cut short
	for {
		select {
		case <-r.parts.Ended:
			return fmt.Errorf("%s: %w", subject, fault.ErrClosed)
		default:
		}
		step, done := context.WithTimeout(wait, attempt)
		js, err := r.open(step)
		if err == nil {
			err = one(step, js)
		}
		done()
		if err = r.judge(subject, err); !errors.Is(err, errNoAnswer) {
			return err
		}
		if before == nil || wait.Err() == nil {
			before = err
		}
		pause := time.NewTimer(again)
		select {
		case <-pause.C:
			continue
		case <-wait.Done():
		}
		pause.Stop()
		err = before
		if errors.Is(err, errNotMade) {
			return r.notMade(context.Cause(ctx))
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w; %s: %w", subject, context.Cause(ctx), unsure, err)
		}
		return fmt.Errorf("%w: no answer for %v, so %s (%s): %w", engine.ErrNoQuorum, limit, unsure, subject, err)
	}
}

// errNoAnswer marks what is worth another attempt; errNotMade is why one may be: the stream
// is not there, and this node may not make it.
var (
	errNoAnswer = errors.New("no answer")
	errNotMade  = errors.New("nobody has made the stream yet")
)

// notMade is the error of an operation that waited for the stream until its ctx ended, or
// for the whole limit; then why is nil. Nothing was written.
func (r *Records) notMade(why error) error {
	err := fmt.Errorf("%w: the stream %s is not there, and the keys of this node do not let it make one: "+
		"start a node with keys of a voter ('loopmesh keys add --voter') or with the right admin, with a StoreDir (--store)", engine.ErrNoJetStream, r.name)
	if why != nil {
		return fmt.Errorf("%w: %w", err, why)
	}
	return err
}

// judge tells an answer from none.
func (r *Records) judge(subject string, err error) error {
	switch {
	case err == nil, errors.Is(err, ErrAbsent), errors.Is(err, ErrConflict), errors.Is(err, ErrBehind):
		return err
	case isConflict(err):
		return fmt.Errorf("%w: %w", ErrConflict, err)
	case isFull(err):
		return fmt.Errorf("%w: make room, or raise its limit: %w", ErrFull, err)
	case errors.Is(err, engine.ErrNoJetStream), errors.Is(err, engine.ErrClosed), errors.Is(err, nats.ErrMaxPayload), errors.Is(err, fault.ErrConfig):
		return err
	case r.parts.Denied(r.prefix + subject):
		return fmt.Errorf("%w: it may not write %s%s; keys of an earlier version lack that: make new ones ('loopmesh keys rotate')", engine.ErrDenied, r.prefix, subject)
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, jetstream.ErrStreamNotFound):
		r.reset()
	}
	return fmt.Errorf("%w: %w", errNoAnswer, err)
}

func isConflict(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, ErrConflict) || errors.As(err, &api) && (api.ErrorCode == 10071 || api.ErrorCode == 10164 || api.ErrorCode == 10077 && strings.Contains(api.Description, "per subject"))
}

// isFull: a limit of the account, of the server, of the server's disk, of the stream.
func isFull(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == 10002 || api.ErrorCode == 10023 || api.ErrorCode == 10047 || api.ErrorCode == 10077)
}

// reset forgets the stream and the connection: the next operation asks for both anew.
func (r *Records) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.js, r.stream = nil, nil
}

// open is JetStream with the stream there.
func (r *Records) open(ctx context.Context) (jetstream.JetStream, error) {
	r.mu.Lock()
	js := r.js
	r.mu.Unlock()
	if js != nil {
		return js, nil
	}
	js, err := r.parts.JetStream(ctx)
	if err != nil {
		return nil, err
	}
	stream, err := r.find(ctx, js)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.js, r.stream = js, stream
	return js, nil
}

// find is the stream. Where it is not there, a node that may makes it; one that may not
// waits for a voter (errNotMade): it would ask in vain, because a server that refuses a
// request does not answer it.
func (r *Records) find(ctx context.Context, js jetstream.JetStream) (jetstream.Stream, error) {
	if r.parts.MayMakeStreams() {
		return Ensure(ctx, js, r.config())
	}
	stream, err := js.Stream(ctx, r.name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, errNotMade
	}
	return stream, err
}

// Make makes the stream, if it is not there, and waits until it is or ctx ends. With keys
// a voter does so when it starts, so that no other node decides what the stream captures.
func (r *Records) Make(ctx context.Context) {
	for ctx.Err() == nil {
		if _, err := r.open(ctx); err == nil {
			return
		}
		pause := time.NewTimer(time.Second)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
	}
}

// work is the stream of queues. Why it discards what is new: a second command with the
// id of one that waits is refused by the server.
func (r *Records) work() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: r.name, Subjects: []string{r.prefix + ">"}, Storage: jetstream.FileStorage, Retention: jetstream.WorkQueuePolicy,
		MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, DiscardNewPerSubject: true, AllowMsgTTL: true,
		Description: "loopmesh: commands",
	}
}

// Walk tells the last record of each subject that filter matches, by sequence, until it
// returns false. It asks for one after another, so it is for people, not for work; and
// for streams in which nobody may have a second consumer.
func (r *Records) Walk(ctx context.Context, filter string, tell func(Record) bool) error {
	for seq := uint64(1); ; seq++ {
		var rec Record
		err := r.try(ctx, filter, func(ctx context.Context, _ jetstream.JetStream) error {
			r.mu.Lock()
			stream := r.stream
			r.mu.Unlock()
			if stream == nil {
				return nats.ErrNoResponders
			}
			m, err := stream.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(r.prefix+filter))
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				return ErrAbsent
			}
			if err == nil {
				rec = Record{Subject: strings.TrimPrefix(m.Subject, r.prefix), Seq: m.Sequence, Body: m.Data, Gone: m.Header.Get(reasonHead) != ""}
			}
			return err
		})
		if errors.Is(err, ErrAbsent) {
			return nil
		}
		if err != nil {
			return err
		}
		if seq = rec.Seq; !rec.Gone && !tell(rec) {
			return nil
		}
	}
}

// Delete removes the record of that sequence, if it is still there.
func (r *Records) Delete(ctx context.Context, seq uint64) error {
	return r.try(ctx, "a record", func(ctx context.Context, js jetstream.JetStream) error {
		stream, err := js.Stream(ctx, r.name)
		if err == nil {
			err = stream.DeleteMsg(ctx, seq)
		}
		var api *jetstream.APIError
		if errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) || errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeMessageNotFound {
			return nil
		}
		return err
	})
}

// Stream is JetStream and the name of the stream, which is there, for a consumer.
func (r *Records) Stream(ctx context.Context) (js jetstream.JetStream, name string, err error) {
	err = r.try(ctx, r.name, func(_ context.Context, have jetstream.JetStream) error {
		js = have
		return nil
	})
	return js, r.name, err
}

// Subject is a subject with its prefix.
func (r *Records) Subject(subject string) string { return r.prefix + subject }

// Text is a subject without its prefix.
func (r *Records) Text(subject string) string { return strings.TrimPrefix(subject, r.prefix) }

// truth is the stream of records. Why MaxMsgsPerSubject 1: a short ttl would be raised
// to the one of the markers otherwise. Why no MaxAge and no limit of bytes: they would
// remove records in silence.
func (r *Records) truth() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: r.name, Subjects: []string{r.prefix + ">"}, Storage: jetstream.FileStorage,
		MaxMsgsPerSubject: 1, AllowMsgTTL: true, AllowAtomicPublish: true, SubjectDeleteMarkerTTL: markers,
		FirstSeq: uint64(time.Now().UnixMicro()), Description: "loopmesh: names, leases, timers, effects",
	}
}

// Why not update a stream that is there: two versions of a program would take turns in
// changing it, and what an operator has set with the nats command would be undone.

// Ensure finds a stream, or makes it: with three replicas where the servers form a
// cluster, else with one. A stream that is there stays as it is.
func Ensure(ctx context.Context, js jetstream.JetStream, cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	stream, err := js.Stream(ctx, cfg.Name)
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return stream, err
	}
	cfg.Replicas = 1
	if js.Conn().ConnectedClusterName() != "" {
		cfg.Replicas = 3
	}
	stream, err = js.CreateStream(ctx, cfg)
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == 10074 && cfg.Replicas > 1 { // a server alone
		cfg.Replicas = 1
		stream, err = js.CreateStream(ctx, cfg)
	}
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another node was first
		return js.Stream(ctx, cfg.Name)
	}
	return stream, err
}
