package durable

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/engine"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
	"github.com/loopmesh/loopmesh/cluster/internal/records"
	"github.com/loopmesh/loopmesh/cluster/internal/wait"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// ErrStale: a later owner has had an effect on the sink; this one was replaced.
var ErrStale = errors.New("the token is of an owner that was replaced")

// ErrTxFull: more keys and calls for later in one Apply than one step of the store takes.
var ErrTxFull = errors.New("too many keys in one step")

// Sink keeps keys and values in JetStream and takes effects of durable work once: Apply
// for a run that was applied does nothing, and Apply with a token lower than one that it
// has seen of the same owner's name is refused. Tokens of two names (a group and a queue)
// say nothing about each other. Both are checked by the server in the same step in which the
// values are written. Package sqlsink does the same in a transaction of a database of
// one's own.
//
// NewSink makes one. Any goroutine.
type Sink struct {
	store *records.Records
	name  string
	line  chan struct{} // of all sinks of that name on the node: holds one while somebody tries again, see applyIn
}

// lineOf is the key of the line of a sink among what a node shares.
type lineOf string

// Tx is the effect that a function given to Apply has. Of that function only.
type Tx struct {
	ctx    context.Context
	sink   *Sink
	writes map[string]*[]byte // nil: removed
	seen   map[string]uint64  // sequences of the keys that were read or written
	armed  []records.Write    // calls for later
}

const (
	effectPrefix = "effect."
	keepApplied  = 24 * time.Hour
	maxKeys      = 400
)

// NewSink is the sink of that name. It sends nothing.
func NewSink(n *cluster.Node, name string) (*Sink, error) {
	if n == nil {
		return nil, fault.Config("durable: a node is needed, not nil")
	}
	if err := checkName("sink", name); err != nil {
		return nil, err
	}
	parts := partsOf(n)
	line := inside.Shared(parts, lineOf(name), func() chan struct{} { return make(chan struct{}, 1) })
	return &Sink{store: records.Of(parts), name: name, line: line}, nil
}

func (s *Sink) subject(kind, name string) string {
	return effectPrefix + records.Token(s.name) + "." + kind + "." + records.Token(name)
}

// value is the record of a key; token that of the highest token; applied that of an id.
type value struct {
	Body  []byte `json:"b"`
	Gone  bool   `json:"gone,omitempty"`
	Nonce string `json:"nonce"`
}

type applied struct {
	ID    string `json:"id"`
	Token uint64 `json:"token"`
	Nonce string `json:"nonce"`
}

// Apply has the effect of fn once for each Owner and ID of a run, for 24 hours: nil means
// that it has been had, now or before. Who owns a name of package names without a Run
// fills in these two and Token. fn may be called several times, when others change its keys at the
// same time, and must have no other effect than on tx; what it returns ends Apply.
// Apply waits for the store, at most five seconds, or until ctx ends; after ErrNoQuorum
// or ctx's error, Apply again finds out. Errors: ErrStale, ErrBadID, ErrFull, what fn
// returns, cluster.ErrBusy (others changed the same keys again and again; as after
// ErrNoQuorum, Apply again finds out), and those of the package.
func (s *Sink) Apply(ctx context.Context, run Run, fn func(tx *Tx) error) error {
	switch {
	case ctx == nil, fn == nil:
		return fault.Config("durable: Apply needs a ctx and a function, not nil")
	case run.Token == 0 || run.Owner == "":
		return fault.Config("durable: Apply needs Owner and Token: those of RunOf, or of an Ownership of package names")
	case run.ID == "" || len(run.ID) > 2*maxName || len(run.Owner) > 2*maxName:
		return fmt.Errorf("%w: %.20q", ErrBadID, run.ID)
	}
	_, err := wait.Do(ctx, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.applyIn(ctx, run, fn)
	})
	return err
}

const applyLimit = 5 * time.Second

// applyIn tries until the effect has been had. Many that change one key at once would all
// read it, of all of them one would write, and the others would have to begin anew: the more
// there are, the longer each takes. So who has met others once waits in a line, and one of
// them tries at a time.
func (s *Sink) applyIn(ctx context.Context, run Run, fn func(tx *Tx) error) error {
	limited, cancel := context.WithTimeoutCause(ctx, applyLimit, fmt.Errorf("%w: no answer for %v", engine.ErrNoQuorum, applyLimit))
	defer cancel()
	met, sure := false, true // others have changed the keys in between; nothing of this run is stored
	for {
		err := s.try(limited, run, fn)
		others, unsure := errors.Is(err, records.ErrConflict) || errors.Is(err, records.ErrBehind), errors.Is(err, records.ErrLate)
		switch {
		case err == nil:
			return nil
		case (met || others || unsure) && limited.Err() != nil && ctx.Err() == nil && (errors.Is(err, errAgain) || errors.Is(err, engine.ErrNoQuorum)):
			return s.late((sure || others) && !unsure)
		case !errors.Is(err, errAgain):
			return err
		case limited.Err() != nil:
			return context.Cause(limited)
		}
		sure = others
		if !met && others && !errors.Is(err, errToken) {
			met = true
			select {
			case s.line <- struct{}{}:
				defer func() { <-s.line }()
			case <-limited.Done():
			}
		}
	}
}

// late is the error of who has met others and did not come first. Where whoever is first
// waits for room, that is the reason, and not that there are many.
func (s *Sink) late(sure bool) error {
	if sure && s.store.Short() {
		return fmt.Errorf("%w: nothing was written: those that change the same keys have waited for room for %v", ErrFull, applyLimit)
	}
	return fault.Codef(wire.Busy, "%w: others change the same keys, and came first for %v; Apply once more finds out whether this run has been", fault.ErrBusy, applyLimit)
}

// errAgain marks an attempt that did not work: the next one finds out what happened.
// errToken is one that came with a new token: of all that do, one is first, and the others
// have met it and not somebody who changes their keys. There are no more of them than tokens.
var (
	errAgain = errors.New("to be tried again")
	errToken = errors.New("the sink may have seen the token meanwhile")
)

// How the server decides. A batch of JetStream is stored whole or not at all, and each of
// its messages carries one comparison: of its own subject or of another one. So every
// condition of the effect is a message: that the id was not applied, that no higher token
// was seen, and that each key is still what the function read. Two Apply that do not
// touch the same key do not disturb each other, because a token that is not higher than
// the known one is compared and not written; those of one owner that wait at the same time
// are stored in one step (package records).
//
// What an answer that does not come means is found out by the next attempt: the id has
// its record, or it has not, and then nothing of the batch is there.

// try is one attempt. The batch holds: that the id was applied, against none; the token,
// against the one that was read, when it is higher, else a mark that nobody reads,
// which carries the comparison of the token's record; and the keys, each against what fn
// read of it. Marks are empty, so that one is enough for several effects.
func (s *Sink) try(ctx context.Context, run Run, fn func(*Tx) error) error {
	token := run.Token
	done, fence := s.subject("id", run.Owner+"/"+run.ID), s.subject("highest", run.Owner)
	have, err := s.read(ctx, done)
	if err != nil {
		return err
	}
	if have.Body != nil && !have.Gone {
		return nil
	}
	highest, err := s.read(ctx, fence)
	if err != nil {
		return err
	}
	var top applied
	if highest.Body != nil && json.Unmarshal(highest.Body, &top) != nil {
		return fmt.Errorf("%w: %s", errGarbage, fence)
	}
	if top.Token > token {
		return fmt.Errorf("%w: sink %s has seen %d of %s, this one has %d", ErrStale, s.name, top.Token, run.Owner, token)
	}
	tx := &Tx{ctx: ctx, sink: s, writes: map[string]*[]byte{}, seen: map[string]uint64{}}
	if err := fn(tx); err != nil {
		return err
	}
	mark, _ := json.Marshal(applied{run.ID, token, records.Nonce()})
	writes := []records.Write{{Subject: done, Body: mark, Expect: have.Seq, TTL: keepApplied}}
	if top.Token < token {
		writes = append(writes, records.Write{Subject: fence, Body: mark, Expect: highest.Seq})
	} else {
		writes = append(writes, records.Write{Subject: s.subject("same", run.Owner), Guard: fence, Expect: highest.Seq})
	}
	if keys := len(tx.seen) + len(tx.armed); keys > maxKeys {
		return fmt.Errorf("%w: %d, the most is %d", ErrTxFull, keys, maxKeys)
	}
	writes = append(writes, tx.armed...)
	for _, key := range slices.Sorted(maps.Keys(tx.seen)) {
		w := records.Write{Subject: s.subject("key", key), Expect: tx.seen[key]}
		if b, written := tx.writes[key]; written {
			v := value{Nonce: records.Nonce(), Gone: b == nil}
			if b != nil {
				v.Body = *b
			}
			w.Body, _ = json.Marshal(v)
		} else { // only read: its record stays, and has to be the same at the end
			w = records.Write{Subject: s.subject("read", key), Guard: w.Subject, Expect: w.Expect}
		}
		writes = append(writes, w)
	}
	err = s.store.Batch(ctx, fence, writes)
	if err == nil {
		return nil
	}
	if top.Token < token && errors.Is(err, records.ErrConflict) {
		err = fmt.Errorf("%w: %w", errToken, err)
	}
	for _, final := range []error{records.ErrFull, engine.ErrNoJetStream, engine.ErrClosed, fault.ErrTooLarge} {
		if errors.Is(err, final) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", errAgain, err)
}

// read is the last record; none is the zero Record.
func (s *Sink) read(ctx context.Context, subject string) (records.Record, error) {
	rec, err := s.store.Get(ctx, subject)
	if errors.Is(err, records.ErrAbsent) {
		return records.Record{}, nil
	}
	if rec.Gone {
		rec.Body = nil
	}
	return rec, err
}

// Get reads a key outside of Apply; nil when there is none. It waits for the store as
// Apply does.
func (s *Sink) Get(ctx context.Context, key string) ([]byte, error) {
	if ctx == nil {
		return nil, fault.Config("durable: Get needs a ctx, not nil")
	}
	return wait.Do(ctx, func(ctx context.Context) ([]byte, error) {
		b, _, err := s.get(ctx, key)
		return b, err
	})
}

func (s *Sink) get(ctx context.Context, key string) ([]byte, uint64, error) {
	if err := checkName("key", key); err != nil {
		return nil, 0, err
	}
	rec, err := s.read(ctx, s.subject("key", key))
	if err != nil || rec.Body == nil {
		return nil, rec.Seq, err
	}
	var v value
	if json.Unmarshal(rec.Body, &v) != nil {
		return nil, rec.Seq, fmt.Errorf("%w: %s", errGarbage, rec.Subject)
	}
	return v.Body, rec.Seq, nil
}

// Get reads a key; nil when there is none. The effect is had only if the key is still
// the same then. It blocks the goroutine that Apply calls the function on.
func (tx *Tx) Get(key string) ([]byte, error) {
	if b, ok := tx.writes[key]; ok {
		if b == nil {
			return nil, nil
		}
		return *b, nil
	}
	b, seq, err := tx.sink.get(tx.ctx, key)
	if err == nil {
		tx.seen[key] = seq
	}
	return b, err
}

// Put writes a key. value is kept until Apply returns.
func (tx *Tx) Put(key string, value []byte) error { return tx.write(key, &value) }

// Delete removes a key.
func (tx *Tx) Delete(key string) error { return tx.write(key, nil) }

func (tx *Tx) write(key string, value *[]byte) error {
	if _, ok := tx.seen[key]; !ok {
		if _, err := tx.Get(key); err != nil { // which record it takes the place of
			return err
		}
	}
	tx.writes[key] = value
	return nil
}

// arm keeps the record of a call for later; of two with one id the later one counts.
func (tx *Tx) arm(w records.Write) {
	tx.armed = slices.DeleteFunc(tx.armed, func(have records.Write) bool { return have.Subject == w.Subject })
	tx.armed = append(tx.armed, w)
}
