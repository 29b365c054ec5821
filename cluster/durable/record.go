package durable

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/records"
	"github.com/loopmesh/loopmesh/cluster/internal/schedule"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// record is what the store keeps of a call for later. State pending: it is to run.
// Every change is a new record of the same subject, written against the sequence of the
// one before, so of two that change it at once one is refused.
type record struct {
	Version  int           `json:"v"`
	Group    string        `json:"group"`
	ID       string        `json:"id"`
	Function string        `json:"function"`
	Codec    wire.Codec    `json:"codec,omitempty"`
	Arg      []byte        `json:"arg,omitempty"`
	Due      time.Time     `json:"due"`             // when it is to run
	Slot     time.Time     `json:"slot"`            // when it was to run first: a repetition after an error is later
	Delay    time.Duration `json:"delay,omitempty"` // it waits for a span, from its writing on
	Rule     string        `json:"rule,omitempty"`  // recurring, see Repeat
	Zone     string        `json:"zone,omitempty"`
	Misfire  Misfire       `json:"misfire,omitempty"`
	Attempts int           `json:"attempts,omitempty"` // that failed
	Most     int           `json:"most,omitempty"`     // of them
	Error    string        `json:"error,omitempty"`    // of the last one
	State    Status        `json:"state"`
	Trace    string        `json:"trace,omitempty"` // context of the span of who asked for it
	Changed  time.Time     `json:"changed"`
	Nonce    string        `json:"nonce"`
}

// Status is how far a call for later is.
type Status string

// The states of a call for later.
const (
	Pending   Status = "pending"   // it will run, or runs
	Done      Status = "done"      // it ran; kept for an hour
	Cancelled Status = "cancelled" // kept for an hour
	Dead      Status = "dead"      // it failed as often as it may; kept until FireNow or Cancel
)

const (
	version     = 1
	timerPrefix = "timer."
	keepEnded   = time.Hour // a repeated request with the same id finds that it ran
	maxName     = 128
	maxError    = 512 // bytes of an error's text that are kept
)

var errGarbage = errors.New("a record that this version cannot read")

func timerSubject(group, id string) string {
	return timerPrefix + records.Token(group) + "." + records.Token(id)
}

// readTimer reads a record. What it does not understand is an error and never runs. Nor does
// what no version writes: its owner computes with these numbers, and a record at which every
// owner ends would end all nodes that serve the group, one after another.
func readTimer(r records.Record) (t record, err error) {
	if json.Unmarshal(r.Body, &t) != nil || t.Version != version || t.ID == "" || timerSubject(t.Group, t.ID) != r.Subject ||
		t.Attempts < 0 || t.Most < 0 || t.Delay < 0 {
		return record{}, fmt.Errorf("%w: %s", errGarbage, r.Subject)
	}
	return t, nil
}

// encode writes a record as a new one.
func (t record) encode() []byte {
	t.Version, t.Nonce, t.Changed = version, records.Nonce(), time.Now().UTC()
	t.Error = short(t.Error)
	b, _ := json.Marshal(t) // check has refused the times that cannot be written
	return b
}

// short is the text of an error as it is kept.
func short(text string) string {
	if len(text) > maxError {
		return strings.ToValidUTF8(text[:maxError], "") + "…"
	}
	return text
}

// same reports whether both ask for the same: then the second request is a repetition.
func (t record) same(o record) bool {
	return t.Function == o.Function && t.Codec == o.Codec && string(t.Arg) == string(o.Arg) && t.Rule == o.Rule && t.Zone == o.Zone &&
		(t.Rule != "" || t.Delay > 0 && o.Delay > 0 || t.Slot.Equal(o.Slot))
}

// entry is the record for the heap of its owner. live: it was written just now, so a
// span counts from now on; else only the wall clock tells what is left of it.
func (t record) entry(r records.Record, now schedule.Clock, live bool) schedule.Entry {
	e := schedule.Entry{ID: t.ID, Seq: r.Seq, Due: t.Due, Span: t.Delay > 0, In: t.Delay, Body: r.Body}
	if e.Span && !live {
		e.In = min(max(t.Due.Sub(now.Wall), 0), t.Delay)
	}
	return e
}

// checkFunction refuses a function whose name would not come back from the store.
func checkFunction(name string) error {
	if name == "" || !utf8.ValidString(name) {
		return fault.Config("the function %q cannot be called by durable work: it needs a name in UTF-8 (cluster.Func)", name)
	}
	return nil
}

// checkName refuses what cannot be an id or a group.
func checkName(what, name string) error {
	if name == "" || len(name) > maxName || !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("%w: the %s %.200q: use 1 to %d bytes of UTF-8 without control characters", ErrBadID, what, name, maxName)
	}
	return nil
}
