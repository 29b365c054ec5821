package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/loopmesh/loopmesh/tests/conformance/ledger"
)

// columns are the states in the order they are printed.
var columns = []ledger.State{ledger.Passed, ledger.Failed, ledger.NotApplicable, ledger.NotYet}

// table prints a row per area, a row of totals, then the lists.
func table(w io.Writer, a *ledger.Account) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row(tw, "AREA", "TITLE", "ALL", "PASSED", "FAILED", "N/A", "NOT YET")
	last := ""
	for _, e := range a.Entries {
		if e.Area == last {
			continue
		}
		last = e.Area
		code, _, _ := strings.Cut(e.ID, "-")
		row(tw, code, e.Area, counts(a, e.Area)...)
	}
	row(tw, "", "total", counts(a, "")...)
	if err := tw.Flush(); err != nil {
		return err
	}
	return lists(w, a)
}

func row(w io.Writer, code, title string, cells ...any) {
	_, _ = fmt.Fprintf(w, "%s\t%s\t%v\t%v\t%v\t%v\t%v\n", append([]any{code, title}, cells...)...) // Flush tells
}

func counts(a *ledger.Account, area string) []any {
	all, cells := 0, []any{0}
	for _, s := range columns {
		n := a.Count(area, s)
		all += n
		cells = append(cells, n)
	}
	cells[0] = all
	return cells
}

// width keeps the lists readable on a terminal.
const width = 100

func lists(w io.Writer, a *ledger.Account) error {
	var b strings.Builder
	if !a.Ran {
		b.WriteString("\nNo test results were read: pipe in the output of go test -json ./...\n")
	}
	for _, s := range columns[1:] {
		list(&b, string(s), a.IDs(s))
	}
	var differs, waiting []string
	for _, e := range a.Entries {
		if e.Differs != "" && e.State != ledger.NotApplicable {
			differs = append(differs, e.ID)
		}
		if e.State == ledger.NotYet && e.Claims > 0 {
			waiting = append(waiting, e.ID)
		}
	}
	list(&b, "differs on purpose, see differences.md", differs)
	list(&b, "claimed by tests that did not run", waiting)
	if len(a.Problems) > 0 {
		fmt.Fprintf(&b, "\nproblems (%d)\n", len(a.Problems))
		for _, p := range a.Problems {
			b.WriteString("  " + p + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// list prints IDs under a title, wrapped.
func list(b *strings.Builder, title string, ids []string) {
	if len(ids) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s (%d)\n", title, len(ids))
	line := " "
	for _, id := range ids {
		if len(line)+1+len(id) > width {
			b.WriteString(line + "\n")
			line = " "
		}
		line += " " + id
	}
	b.WriteString(line + "\n")
}
