package top

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// The lists. Each is made of rows of texts, so that sorting, filtering and drawing know
// nothing of what a row stands for.

// What is drawn so that it is seen first (warn) is what somebody has to do something
// about: a node that is not ready, a loop whose callback does not return, a task that waits
// for itself, a connection whose peer does not read. Numbers that are only high are not:
// what is much differs from program to program, and s sorts by them.
//
// kind is one of the lists.
type kind int

const (
	nodes kind = iota
	loops
	tasks
	conns
	kinds // how many
)

var titles = [kinds]string{"nodes", "loops", "tasks", "conns"}

// column is a heading; numbers stand at the right, and are sorted the largest first.
type column struct {
	title  string
	width  int
	number bool
}

var columns = [kinds][]column{
	nodes: {{"NODE", 14, false}, {"STATE", 9, false}, {"LOOPS", 6, true}, {"TASKS", 7, true}, {"CONNS", 7, true}, {"SERVED", 9, true}, {"CALLS", 9, true}, {"FAILED", 7, true}, {"HOST", 16, false}, {"NOTE", 40, false}},
	loops: {{"LOOP", 22, false}, {"STATE", 9, false}, {"BUSY", 6, true}, {"LAG P99", 9, true}, {"LONGEST", 9, true}, {"QUEUE", 6, true}, {"TASKS", 7, true}, {"CONNS", 7, true}, {"SLOW", 5, true}, {"UNSENT", 9, true}, {"BLOCKED IN", 40, false}},
	tasks: {{"TASK", 26, false}, {"NAME", 20, false}, {"STATE", 11, false}, {"WAITS IN", 30, false}, {"FOR", 8, true}, {"AT", 40, false}},
	conns: {{"CONN", 28, false}, {"PEER", 22, false}, {"STATE", 12, false}, {"IN", 10, true}, {"OUT", 10, true}, {"UNSENT", 9, true}, {"PROTOCOL", 30, false}},
}

// cell is a text, and the number behind it when it has one.
type cell struct {
	text  string
	value float64
}

// row is one thing. warn: it is drawn so that it is seen first.
type row struct {
	id    string
	name  string // for questions about it
	cells []cell
	warn  bool
	stack []string
	more  []string // lines of its page
}

// The kinds of cells. A number is sorted by its value and not by its text: 9.5K is less
// than 1.0M.
func word(s string) cell                  { return cell{text: s} }
func number[T int | uint64](n T) cell     { return cell{fmt.Sprint(n), float64(n)} }
func sized(n uint64) cell                 { return cell{size(n), float64(n)} }
func took(d time.Duration, is bool) cell  { return cell{span(d, is), float64(d)} }
func share(busy float64, known bool) cell { return cell{percent(busy, known), busy} }

// list asks for one of the lists.
func list(ctx context.Context, from Source, k kind) ([]row, []admin.Missing, error) {
	switch k {
	case nodes:
		return rowsOf(from.Nodes(ctx))(nodeRow)
	case loops:
		return rowsOf(from.MeasuredLoops(ctx, measure))(loopRow)
	case tasks:
		return rowsOf(from.Tasks(ctx, maxStack))(taskRow)
	}
	return rowsOf(from.Conns(ctx))(connRow)
}

// maxStack is how many calls of a task its page shows.
const maxStack = 16

// A row has as many cells as its list has columns; the cell of what is not known is empty,
// never zero, which would look like an idle node.
//
// rowsOf makes rows of a list, each by one.
func rowsOf[T any](list *admin.List[T], err error) func(func(T) row) ([]row, []admin.Missing, error) {
	return func(one func(T) row) ([]row, []admin.Missing, error) {
		if err != nil {
			return nil, nil, err
		}
		rows := make([]row, 0, len(list.Items))
		for _, item := range list.Items {
			rows = append(rows, one(item))
		}
		return rows, list.Partial, nil
	}
}

// draining is the state of a node that was told to leave. To the cluster it is ready: it
// answers, and has what it has not given away yet.
const draining = "draining"

// nodeRow: a node that died stays in the list for a day, and says when it was last seen and
// by what evidence it was given up. The node that is asked is marked, since all that is
// shown is how it sees the cluster.
func nodeRow(n admin.Node) row {
	note, state, leaves := "", n.State, n.Draining && n.State == admin.Ready
	switch {
	case leaves && n.Self:
		note, state = "asked; is being drained", draining
	case leaves:
		note, state = "is being drained", draining
	case n.Self:
		note = "asked"
	case n.State != admin.Ready:
		note = "last seen " + span(time.Since(n.LastSeen), true) + " ago " + n.Why
	}
	return row{id: n.ID, name: n.ID, warn: n.State != admin.Ready || leaves, cells: []cell{
		word(n.ID), word(state), number(n.Loops), number(n.Tasks), number(n.Conns), number(n.Served), number(n.Calls), number(n.CallsFailed), word(n.Host), word(note),
	}, more: []string{
		"incarnation  " + n.Incarnation, "pid          " + fmt.Sprint(n.PID), "version      " + n.Version + " " + n.Go, "joins at     " + n.URL, "why          " + n.Why,
	}}
}

// loopRow: a loop whose callback does not return answers nothing; what is known of it (how
// long, where) its node has told. The time stands in the column of the lag, because that is
// what everything sent to the loop waits now.
func loopRow(l admin.Loop) row {
	lag, longest, busy, known := time.Duration(0), time.Duration(0), 0.0, l.Measured != nil
	if known {
		lag, longest, busy = time.Duration(l.Measured.LagP99US)*time.Microsecond, time.Duration(l.Measured.LongestUS)*time.Microsecond, l.Measured.Busy
	}
	if l.State == admin.Blocked {
		lag, known = time.Duration(l.BlockedMS)*time.Millisecond, true
	}
	return row{id: l.ID, name: l.ID, warn: l.State == admin.Blocked, cells: []cell{
		word(l.ID), word(l.State), share(busy, l.Measured != nil), took(lag, known), took(longest, l.Measured != nil), number(l.Queue), number(l.Tasks), number(l.Conns),
		number(l.Paused), sized(uint64(l.Unsent)), word(l.Frame),
	}, more: []string{"serves       " + strings.Join(l.Servers, " "), fmt.Sprintf("timers       %d", l.Timers), fmt.Sprintf("descriptors  %d", l.Watched), fmt.Sprintf("children     %d", l.Children)}}
}

// taskRow: how long a task waits is known from when the watchdog of its loop has looked
// first; before that the column is empty. The place is file and line of the newest call.
func taskRow(t admin.Task) row {
	state, at, waited := t.State, "", time.Duration(0)
	if t.Circle {
		state = "CIRCLE"
	}
	if t.WaitsUS != nil {
		waited = time.Duration(*t.WaitsUS) * time.Microsecond
	}
	if len(t.Stack) > 0 {
		at = t.Stack[0][strings.LastIndexByte(t.Stack[0], '/')+1:]
		at = strings.TrimSuffix(at, ")")
	}
	return row{id: t.ID, name: t.Name, warn: t.Circle, stack: t.Stack, cells: []cell{
		word(t.ID), word(t.Name), word(state), word(t.Waits), took(waited, t.WaitsUS != nil), word(at),
	}, more: []string{"made by      " + t.Parent, "awaited by   " + strings.Join(t.AwaitedBy, " ")}}
}

// connRow: "peer slow" is a peer that does not take what was written, "not reading" a
// program that has paused its peer. Both are back-pressure, in opposite directions.
func connRow(c admin.Conn) row {
	state := "open"
	switch {
	case c.Closing:
		state = "closing"
	case c.Paused != "":
		state = "peer slow"
	case !c.Reading:
		state = "not reading"
	}
	return row{id: c.ID, name: c.Peer, warn: c.Paused != "", cells: []cell{
		word(c.ID), word(c.Peer), word(state), sized(c.BytesIn), sized(c.BytesOut), sized(uint64(c.WriteBuffer)), word(c.Protocol),
	}, more: []string{"local        " + c.Local, "tls          " + c.TLS, "paused       " + c.Paused, fmt.Sprintf("marks        %d / %d", c.Low, c.High)}}
}

// size is a number of bytes for people.
func size(n uint64) string {
	v, unit := float64(n), 0
	for ; v >= 1024 && unit < 4; unit++ {
		v /= 1024
	}
	if unit == 0 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%.1f%s", v, []string{"", "K", "M", "G", "T"}[unit])
}

// span is a duration for people; "" when it is not known.
func span(d time.Duration, known bool) string {
	switch {
	case !known:
		return ""
	case d < time.Millisecond:
		return fmt.Sprintf("%dµs", d.Microseconds())
	case d < 10*time.Second:
		return d.Round(time.Millisecond / 10).String()
	}
	return d.Round(time.Second).String()
}

// percent is a share for people; "" when it is not known.
func percent(v float64, known bool) string {
	if !known {
		return ""
	}
	return fmt.Sprintf("%.0f%%", 100*v)
}
