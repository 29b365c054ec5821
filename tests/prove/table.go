package prove

import (
	"fmt"
	"strings"
	"time"

	"github.com/loopmesh/loopmesh/tests/prove/history"
)

// row is one promise of the table and its checker.
type row struct {
	promise string
	check   func([]history.Event) history.Result
}

// The limits of the rows.
const (
	durableLimit = 6 * time.Second  // five seconds are promised
	servedMost   = 15 * time.Second // until a connection is served, behind a fault
	togetherMost = 15 * time.Second // until all know all, behind a fault
	memoryMost   = 400 << 20        // of one process
	searchMost   = time.Minute      // for an order of one name's owners
)

// rows are the promises that a run judges. docs/promises.md has a row for each of them.
var rows = []row{
	{"a call ends once, by its deadline, and runs at most once", history.Calls},
	{"calls without an answer run in order and once; what does not run is told", history.Casts},
	{"whoever watches is told exactly once, and only of the dead", history.Watches},
	{"an accepted command has its effect once, in the order of its key", history.Commands},
	{"an accepted call for later has its effect once, never early", history.Timers},
	{"a name has one owner at a time", func(all []history.Event) history.Result { return history.Owners(all, searchMost) }},
	{"a sink takes no effect of a replaced owner", history.Tokens},
	{"a durable request ends within five seconds", func(all []history.Event) history.Result { return history.Bounded(all, durableLimit) }},
	{"a node without descriptors serves the connections that it has; behind a fault it takes new ones", func(all []history.Event) history.Result { return history.Served(all, servedMost) }},
	{"after a fault every node knows every other one", func(all []history.Event) history.Result { return history.Recovered(all, togetherMost) }},
	{"the memory of a node is bounded", func(all []history.Event) history.Result { return history.MemoryBelow(all, memoryMost) }},
}

// enoughRow is the row that says whether the run counts.
const enoughRow = "every fault was injected, and enough traffic passed"

// diskRow is that of TestFullDisk.
const diskRow = "a full disk is an error, and writing goes on when there is room"

// line is one line of the printed table.
func line(promise string, faults int, r history.Result, seed uint64) string {
	result := "ok"
	if len(r.Breaches) > 0 {
		result = "BROKEN"
	}
	return fmt.Sprintf("| %s | %d | %d | %s | %s | %d |", promise, faults, r.Ops, result, r.Figures, seed)
}

var head = strings.Join([]string{
	"| promise | faults | operations | result | figures | seed |",
	"|---|---|---|---|---|---|",
}, "\n")
