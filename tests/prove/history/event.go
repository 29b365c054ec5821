package history

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// Op says what an event is about.
type Op string

// The operations.
const (
	Call    Op = "call"    // of a function, with its answer
	Cast    Op = "cast"    // CallSoon
	Command Op = "command" // durable.Send
	Timer   Op = "timer"   // durable.CallLater
	Effect  Op = "effect"  // what a sink held at the end: ID is the N-th of the list To
	Watch   Op = "watch"   // Node.Watch
	Claim   Op = "claim"   // of a name
	Act     Op = "act"     // a look at Ownership.Held by the owner of a name
	Late    Op = "late"    // an effect that a former owner tried
	Fault   Op = "fault"   // what the driver did to To
	Connect Op = "connect" // a connection to a node, with an answer over it
	Kept    Op = "kept"    // an answer over a connection that was there before
	Memory  Op = "memory"  // resident bytes of a process
	Members Op = "members" // a fault is over: until everybody knew everybody
)

// Step says how far an operation is. Each Invoke has one of OK, Refused and Unknown, or
// none when its process died.
type Step string

// The steps.
const (
	Invoke  Step = "invoke"
	OK      Step = "ok"
	Refused Step = "refused" // it did not happen, and will not
	Unknown Step = "unknown" // it may have happened, or may still
	Ran     Step = "ran"     // the function began, in the process By
	Failed  Step = "failed"  // that run ended in an error: it has to be repeated
	Told    Step = "told"    // of casts: N of them to To may not have run; of a watch: it ended
	Began   Step = "began"   // a fault
	Ended   Step = "ended"   // a fault is taken back
)

// Event is one line of a history.
type Event struct {
	At   int64  `json:"at"` // nanoseconds of the monotonic clock
	By   string `json:"by"` // life of a process, such as w1.2
	Op   Op     `json:"op"`
	Step Step   `json:"t"`
	ID   string `json:"id,omitempty"`   // of the operation; of casts: of their sender
	To   string `json:"to,omitempty"`   // node, lane, group, name or list
	N    uint64 `json:"n,omitempty"`    // number of a cast, token (also of the owner that ran a timer), position, bytes, count
	Due  int64  `json:"due,omitempty"`  // of a call: its deadline; of a timer: its time by the wall clock
	Span int64  `json:"span,omitempty"` // of a timer: how long it waits; 0: until its time of day
	Wall int64  `json:"wall,omitempty"` // the wall clock, of a request for a timer and of its run; of a fault: how far it is set ahead
	From int64  `json:"from,omitempty"` // of an act: the time before it; At is the one after it
	Err  string `json:"err,omitempty"`  // of a fault: its kind
}

// Log writes the events of one process. Any goroutine.
type Log struct {
	by  string
	now func() int64

	mu  sync.Mutex
	out io.Writer
	err error
}

// NewLog writes to out at once, so that what a process has written survives its death.
// now is the monotonic clock.
func NewLog(by string, now func() int64, out io.Writer) *Log {
	return &Log{by: by, now: now, out: out}
}

// Add writes an event down, with the time unless it has one.
func (l *Log) Add(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.By == "" {
		e.By = l.by
	}
	if e.At == 0 {
		e.At = l.now()
	}
	line, err := json.Marshal(e)
	if err == nil {
		_, err = l.out.Write(append(line, '\n'))
	}
	l.err = errors.Join(l.err, err)
}

// Now is the clock of the events.
func (l *Log) Now() int64 { return l.now() }

// Err is what went wrong with writing.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Read gives the events of all files *.jsonl of a folder, in the order of their times. A
// last line that its process could not finish counts as not written.
func Read(dir string) ([]Event, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil {
		return nil, err
	}
	slices.Sort(paths)
	var all []Event
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		if all, err = parse(all, raw); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	slices.SortStableFunc(all, func(a, b Event) int { return int(min(max(a.At-b.At, -1), 1)) })
	return all, nil
}

func parse(all []Event, raw []byte) ([]Event, error) {
	raw = raw[:bytes.LastIndexByte(raw, '\n')+1]
	in := bufio.NewScanner(bytes.NewReader(raw))
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var e Event
		if err := json.Unmarshal(in.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("%.200q: %w", in.Text(), err)
		}
		all = append(all, e)
	}
	return all, in.Err()
}

// Result is what a checker found.
type Result struct {
	Ops      int      // operations that it judged
	Breaches []string // at most maxBreaches, then their count
	Figures  string   // for the table
}

const maxBreaches = 20

func (r *Result) breach(format string, args ...any) {
	switch n := len(r.Breaches); {
	case n < maxBreaches:
		r.Breaches = append(r.Breaches, fmt.Sprintf(format, args...))
	case n == maxBreaches:
		r.Breaches = append(r.Breaches, "and more")
	}
}
