package durable

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/admit"
	"github.com/loopmesh/loopmesh/cluster/internal/codec"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
	"github.com/loopmesh/loopmesh/cluster/internal/records"
	"github.com/loopmesh/loopmesh/cluster/internal/schedule"
	"github.com/loopmesh/loopmesh/cluster/internal/traces"
	"github.com/loopmesh/loopmesh/cluster/internal/wait"
)

// The errors of this package, to be tested with errors.Is. Beside them: ErrConfig,
// ErrNoJetStream, ErrNoQuorum, ErrDenied, ErrTooLarge and ErrBadPayload of package
// cluster.
var (
	// ErrExists: something else is stored under the id.
	ErrExists = errors.New("the id is in use")
	// ErrNotFound: nothing is stored under the id, or it has ended.
	ErrNotFound = errors.New("nothing is stored under the id")
	// ErrBadID: the text cannot be an id, a group or a queue.
	ErrBadID = errors.New("not an id")
	// ErrBadRule: the text of a recurring call cannot be read, or never comes true.
	ErrBadRule = errors.New("not a rule for a recurring call")
	// ErrFull: the store has no room for more; what is in it can still run, end and be
	// cancelled. Nothing was written.
	ErrFull = records.ErrFull
)

// DefaultGroup is the group of calls for later without the option Group.
const DefaultGroup = "main"

// Misfire says what becomes of the times of a recurring call that nobody was there for.
type Misfire string

// The policies of Misfire.
const (
	RunOnce Misfire = ""     // one run for all of them; the default
	RunAll  Misfire = "all"  // one run for each
	Skip    Misfire = "skip" // none; a time that is over for less than a minute still runs
)

// Option changes a call for later.
type Option func(*request)

// request is a call for later that is about to be stored.
type request struct {
	record
	replace bool
}

// Group is the group whose owner runs the call, see Serve.
func Group(name string) Option { return func(r *request) { r.Group = name } }

// Replace takes the place of what is stored under the id, whatever that is.
func Replace() Option { return func(r *request) { r.replace = true } }

// Attempts is how often the call may fail before it is dead; default 10. Between two
// attempts lie one second, then twice as long each time, at most a minute.
func Attempts(most int) Option { return func(r *request) { r.Most = most } }

// Zone is the time zone of a cron rule, by its name; default UTC.
func Zone(name string) Option { return func(r *request) { r.Zone = name } }

// OnMisfire sets the policy of a recurring call.
func OnMisfire(m Misfire) Option { return func(r *request) { r.Misfire = m } }

const (
	defaultAttempts = 10
	maxAttempts     = 1000
)

// CallLater runs fn with in after d, on the loop of the group's owner (Serve). nil means
// that it is stored: it survives every process. It waits for the store, at most five
// seconds, or until ctx ends; after an error it may be stored, and the same request
// again is nil, not a second call. The span is measured by the owner's monotonic clock;
// only what is left of it when another process becomes the owner is taken from the wall
// clock.
//
// Errors: ErrExists, ErrBadID, ErrFull, and those of the package. asyncio:
// loop.call_later.
func CallLater[In, Out any](ctx context.Context, n *cluster.Node, id string, fn *cluster.Function[In, Out], in In, d time.Duration, opts ...Option) error {
	d = max(d, 1) // a span, however short
	return arm(ctx, n, id, fn, in, record{Due: time.Now().Add(d), Delay: d}, opts)
}

// CallAt is CallLater at a time of day: it runs when the wall clock of the owner's
// machine reads when or later. asyncio: loop.call_at.
func CallAt[In, Out any](ctx context.Context, n *cluster.Node, id string, fn *cluster.Function[In, Out], in In, when time.Time, opts ...Option) error {
	return arm(ctx, n, id, fn, in, record{Due: when}, opts)
}

// Repeat is CallLater again and again. rule is "@every 90s", or a cron expression of
// minute, hour, day, month and weekday, or of six fields with the second first, or a tag
// such as @daily; see Zone and OnMisfire. The next run is set when one has ended, so no
// two overlap; times that passed meanwhile are misfires. The same request again is nil
// and changes nothing.
func Repeat[In, Out any](ctx context.Context, n *cluster.Node, id string, fn *cluster.Function[In, Out], in In, rule string, opts ...Option) error {
	if rule == "" {
		return fmt.Errorf("%w: it is empty: use @every 90s, or a cron expression", ErrBadRule)
	}
	return arm(ctx, n, id, fn, in, record{Rule: rule}, opts)
}

// A request says nothing about whether it was made before. Its id does: whoever did not
// get an answer asks again with the same id, and finds the record of the first time. The
// argument is compared as bytes, so a type whose encoding differs from time to time (a
// map of floats that are computed, the current time) makes two requests of one.

// arm stores a call for later.
func arm[In, Out any](ctx context.Context, n *cluster.Node, id string, fn *cluster.Function[In, Out], in In, t record, opts []Option) error {
	if n == nil {
		return fault.Config("durable: a call for later needs a node, not nil")
	}
	r, err := requestOf(ctx, id, fn, in, t, opts)
	if err != nil {
		return err
	}
	store := records.Of(n.Inside(inside.Key{}))
	_, err = wait.Do(ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, r.put(ctx, store) })
	return err
}

// requestOf is a call for later that can be stored.
func requestOf[In, Out any](ctx context.Context, id string, fn *cluster.Function[In, Out], in In, t record, opts []Option) (r request, err error) {
	if ctx == nil || fn == nil {
		return r, fault.Config("durable: a call for later needs a ctx and a function, not nil")
	}
	r = request{record: t}
	r.ID, r.Group, r.Function, r.Most, r.State = id, DefaultGroup, fn.Name(), defaultAttempts, Pending
	for _, set := range opts {
		if set != nil {
			set(&r)
		}
	}
	if err := r.check(time.Now()); err != nil {
		return r, err
	}
	if r.Codec, r.Arg, err = codec.Encode(in); err != nil {
		return r, err
	}
	if r.Rule == "" { // a recurring call is a trace of its own each time
		r.Trace = traces.Text(ctx)
	}
	return r, nil
}

// CallLaterIn arms a call for later in one step with the effect that tx belongs to: both
// happen, or neither, however often the effect is tried. It is CallLater otherwise, with the
// errors of it; like Tx.Get it blocks the goroutine that Apply calls the function on.
func CallLaterIn[In, Out any](tx *Tx, id string, fn *cluster.Function[In, Out], in In, d time.Duration, opts ...Option) error {
	if tx == nil {
		return fault.Config("durable: CallLaterIn needs the Tx of an Apply, not nil")
	}
	d = max(d, 1)
	r, err := requestOf(tx.ctx, id, fn, in, record{Due: time.Now().Add(d), Delay: d}, opts)
	if err != nil {
		return err
	}
	expect, wanted, err := r.replaces(tx.ctx, tx.sink.store)
	if err == nil && wanted {
		tx.arm(records.Write{Subject: timerSubject(r.Group, r.ID), Body: r.encode(), Expect: expect})
	}
	return err
}

// check refuses what could only fail later, and sets the first time of a rule.
func (r *request) check(now time.Time) error {
	if err := checkName("id", r.ID); err != nil {
		return err
	}
	if err := checkName("group", r.Group); err != nil {
		return err
	}
	if err := checkFunction(r.Function); err != nil {
		return err
	}
	switch {
	case r.Most < 1 || r.Most > maxAttempts:
		return fault.Config("Attempts(%d): use 1 to %d", r.Most, maxAttempts)
	case r.Misfire != RunOnce && r.Misfire != RunAll && r.Misfire != Skip:
		return fault.Config("OnMisfire(%q): use RunOnce, RunAll or Skip", r.Misfire)
	case r.Rule == "" && (r.Zone != "" || r.Misfire != RunOnce):
		return fault.Config("Zone and OnMisfire are for recurring calls: use Repeat")
	case r.Rule == "" && r.Due.IsZero():
		return fault.Config("CallAt needs a time, not the zero Time")
	case r.Rule == "" && (r.Due.UTC().Year() < 1 || r.Due.UTC().Year() > lastYear):
		return fault.Config("CallAt(%v): use a time of the years 1 to 9999", r.Due)
	}
	if r.Rule != "" {
		rule, err := schedule.ParseRule(r.Rule, r.Zone)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrBadRule, err)
		}
		if r.Due, err = rule.Next(now); err != nil {
			return fmt.Errorf("%w: %w", ErrBadRule, err)
		}
		r.Delay = rule.Every
	}
	r.Due = r.Due.UTC()
	r.Slot = r.Due
	return nil
}

// put stores it where nothing is stored, or what is there has been cancelled. What is
// there and is the same is the earlier request of somebody who did not get the answer.
func (r *request) put(ctx context.Context, store *records.Records) error {
	ctx, cancel := records.Request(ctx)
	defer cancel()
	subject, expect := timerSubject(r.Group, r.ID), uint64(0)
	for {
		_, err := store.Add(ctx, admit.More, subject, r.encode(), expect)
		if !errors.Is(err, records.ErrConflict) {
			return err
		}
		wanted := false
		if expect, wanted, err = r.replaces(ctx, store); err != nil || !wanted {
			return err
		}
	}
}

// replaces is the sequence of the record whose place it takes, 0 for none; wanted is false
// when the same request is stored already.
func (r *request) replaces(ctx context.Context, store *records.Records) (expect uint64, wanted bool, err error) {
	have, err := store.Get(ctx, timerSubject(r.Group, r.ID))
	switch {
	case errors.Is(err, records.ErrAbsent):
		return 0, true, nil
	case err != nil:
		return 0, false, err
	case have.Gone || r.replace:
		return have.Seq, true, nil
	}
	t, err := readTimer(have)
	switch {
	case err != nil, t.State == Cancelled: // garbage keeps no id
		return have.Seq, true, nil
	case t.same(r.record):
		return 0, false, nil
	}
	return 0, false, fmt.Errorf("%w: %s of group %s calls %s at %s and is %s: take another id, or Replace", ErrExists, r.ID, r.Group, t.Function, t.Due.Local().Format(time.DateTime), t.State)
}
