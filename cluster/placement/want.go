package placement

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/admit"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
	"github.com/loopmesh/loopmesh/cluster/internal/records"
	"github.com/loopmesh/loopmesh/cluster/internal/wait"
)

// The errors of this package, to be tested with errors.Is. Beside them: ErrConfig,
// ErrNoJetStream, ErrNoQuorum and ErrDenied of package cluster.
var (
	// ErrBadName: the text cannot be a kind or the name of an instance.
	ErrBadName = errors.New("not a kind or a name")
	// ErrNotWanted: no such instance is wanted.
	ErrNotWanted = errors.New("no such instance is wanted")
	// ErrFull: the store of the NATS server has no room.
	ErrFull = records.ErrFull
)

// State is how far an instance is.
type State string

// The states of an instance.
const (
	Wanted   State = "wanted"   // it runs, or is about to
	Finished State = "finished" // Run has returned nil; kept for an hour
	Failed   State = "failed"   // it has spent its budget of restarts; another Want starts it again
	dropped  State = "dropped"
)

const (
	version    = 1
	prefix     = "place."
	keepEnded  = time.Hour
	maxName    = 56 // bytes: kind and name are parts of one name of package names
	maxBudget  = 1000
	maxError   = 512 // bytes of an error's text that are kept
	budgetMost = 5   // failures, by default
	budgetTime = time.Minute
)

// id is an instance.
type id struct{ Kind, Name string }

// String is the name that the instance owns while it runs (package names).
func (i id) String() string { return "placement/" + i.Kind + "/" + i.Name }

// check refuses what cannot be an instance.
func (i id) check() error {
	for _, text := range []string{i.Kind, i.Name} {
		if text == "" || len(text) > maxName || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd || r == '/' }) {
			return fmt.Errorf("%w: %.80q: use 1 to %d bytes of UTF-8 without / and control characters", ErrBadName, text, maxName)
		}
	}
	return nil
}

func (i id) subject() string { return prefix + records.Token(i.Kind) + "." + records.Token(i.Name) }

// The life of a record. Want writes it, wanted. The supervisor adds a failure to it for each
// run that ended in an error, and makes it failed with the one that spends the budget, or
// finished when Run returned nil; then it goes after an hour. Drop makes it dropped, which
// goes after an hour, too: a record that vanished at once would not be told to a supervisor
// that is reading at that moment. Want takes the place of any of them, but the one that
// is wanted already.
//
// Why failures are kept here and not by the supervisor: the budget has to hold also when
// supervisors change, as they do when an instance kills the nodes that it runs on. A death of
// its node is a failure of an instance; only one in which the supervisor dies, too, is not counted.

// want is what the store keeps of an instance. Every change is written against the sequence
// of the record before, so that a supervisor which was replaced changes nothing.
type want struct {
	Version  int           `json:"v"`
	ID       id            `json:"id"`
	State    State         `json:"state"`
	Most     int           `json:"most"`   // failures
	Within   time.Duration `json:"within"` // that time
	Failures []time.Time   `json:"failures,omitempty"`
	On       string        `json:"on,omitempty"`    // the node of the last one
	Ended    uint64        `json:"ended,omitempty"` // the token of the last run whose end was written down
	Error    string        `json:"error,omitempty"`
	Changed  time.Time     `json:"changed"`
	Nonce    string        `json:"nonce"`

	seq uint64 // of its record
}

func (w want) encode() []byte {
	w.Version, w.Changed, w.Nonce = version, time.Now().UTC(), records.Nonce()
	b, _ := json.Marshal(w) // its types can always be written
	return b
}

// readWant reads a record; false: there is none, or it cannot be read.
func readWant(r records.Record) (w want, ok bool) {
	if r.Gone || json.Unmarshal(r.Body, &w) != nil || w.Version != version || w.ID.check() != nil || w.ID.subject() != r.Subject {
		return want{}, false
	}
	w.seq = r.Seq
	return w, w.State != dropped
}

// failed notes a failure, and whether the budget is spent with it. Failures that are older
// than the time of the budget do not count any more.
func (w want) failed(now time.Time, node, text string) want {
	w.Failures = slices.DeleteFunc(slices.Clone(w.Failures), func(at time.Time) bool { return now.Sub(at) > w.Within })
	w.Failures = append(w.Failures, now.UTC())
	w.On, w.Error = node, cut(text, maxError)
	if len(w.Failures) > w.Most {
		w.State = Failed
	}
	return w
}

// cut is the text of an error in at most so many bytes, and an ellipsis.
func cut(text string, most int) string {
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strings.ToValidUTF8(text, "�")
}

// Option changes what Want asks for.
type Option func(*want)

// Restarts is the budget: an instance that fails more often than most times within that time
// has failed for good. Default: 5 in a minute.
func Restarts(most int, within time.Duration) Option {
	return func(w *want) { w.Most, w.Within = most, within }
}

// Want has an instance of a kind run on one of the nodes that serve the kind, from now on, until
// it finishes, fails or is dropped (Drop). nil: that is stored. The same Want again changes nothing
// while the instance is wanted; one that has finished or failed begins anew. Errors:
// ErrBadName, ErrFull, cluster.ErrConfig for a budget that is none, and those of the package.
func Want(ctx context.Context, n *cluster.Node, kind, name string, opts ...Option) error {
	w := want{ID: id{kind, name}, State: Wanted, Most: budgetMost, Within: budgetTime}
	for _, set := range opts {
		if set != nil {
			set(&w)
		}
	}
	if w.Most < 0 || w.Most > maxBudget || w.Within <= 0 {
		return fault.Config("placement: Restarts(%d, %v): use 0 to %d and a time above 0", w.Most, w.Within, maxBudget)
	}
	return change(ctx, n, w.ID, func(have want, ok bool) (want, time.Duration, error) {
		if ok && have.State == Wanted && have.Most == w.Most && have.Within == w.Within {
			return have, 0, errSame
		}
		w.Ended = have.Ended // a host may still tell of that end
		return w, 0, nil
	})
}

// Drop has an instance not run any more: its ctx ends within about a second. It does not wait
// for that. Errors: ErrNotWanted, and those of Want.
func Drop(ctx context.Context, n *cluster.Node, kind, name string) error {
	return change(ctx, n, id{kind, name}, func(have want, ok bool) (want, time.Duration, error) {
		if !ok {
			return have, 0, fmt.Errorf("%w: %s of kind %s", ErrNotWanted, name, kind)
		}
		have.State = dropped
		return have, keepEnded, nil
	})
}

var errSame = errors.New("nothing to change")

// change replaces the record of an instance by what next makes of it.
func change(ctx context.Context, n *cluster.Node, i id, next func(have want, ok bool) (want, time.Duration, error)) error {
	if ctx == nil || n == nil {
		return fault.Config("placement: a ctx and a node are needed, not nil")
	}
	if err := i.check(); err != nil {
		return err
	}
	store := storeOf(n)
	_, err := wait.Do(ctx, func(ctx context.Context) (struct{}, error) {
		ctx, cancel := records.Request(ctx)
		defer cancel()
		for {
			rec, err := store.Get(ctx, i.subject())
			if err != nil && !errors.Is(err, records.ErrAbsent) {
				return struct{}{}, err
			}
			have, ok := readWant(rec)
			w, ttl, err := next(have, ok)
			if errors.Is(err, errSame) {
				return struct{}{}, nil
			}
			switch {
			case err != nil:
			case ttl == 0: // it makes the store grow
				_, err = store.Add(ctx, admit.More, i.subject(), w.encode(), rec.Seq)
			default:
				_, err = store.Put(ctx, i.subject(), w.encode(), rec.Seq, ttl)
			}
			if !errors.Is(err, records.ErrConflict) {
				return struct{}{}, err
			}
		}
	})
	return err
}

func storeOf(n *cluster.Node) *records.Records { return records.Of(n.Inside(inside.Key{})) }
