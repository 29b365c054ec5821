package nodecmd

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// The forms of output. JSON has every field; a table has what fits into a line and
// may change with any version; name is the first column alone, one item a line, as
// xargs and shell loops want it.
const (
	formatTable = "table"
	formatJSON  = "json"
	formatName  = "name"
)

// output is the form in which a command prints its data to stdout: a table for
// people, whose columns may change; JSON for programs, whose fields are API and only
// grow; names alone, one a line, for shell loops and completion.
type output struct{ format string }

func (o *output) flag(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.format, "output", "o", formatTable, "form of the output: table, json, or name for the names alone")
	_ = cmd.RegisterFlagCompletionFunc("output", completeFrom(formatTable, formatJSON, formatName)) // the flag is there
}

// check refuses an unknown form before the node is asked: an order must not be
// carried out and then fail at the printing.
func (o *output) check() error {
	switch o.format {
	case formatTable, formatJSON, formatName:
		return nil
	}
	return usageError{fmt.Errorf("--output is %q; there is table, json and name", o.format)}
}

// document prints v as one JSON document. HTML escaping is off, which would write >
// in a function's result as \u003e.
func (o *output) document(cmd *cobra.Command, v any) error {
	enc := json.NewEncoder(cmd.OutOrStdout())
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// column is one column of a table: its title and how an item is shown in it.
type column[T any] struct {
	title string
	value func(T) string
}

// show prints a list in the wanted form. The first column is the item's name, which
// is all that the form "name" prints.
func show[T any](cmd *cobra.Command, o *output, list *admin.List[T], columns ...column[T]) error {
	switch o.format {
	case formatJSON:
		return o.document(cmd, list)
	case formatName:
		for _, item := range list.Items {
			if _, err := fmt.Fprintln(cmd.OutOrStdout(), columns[0].value(item)); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	titles := make([]string, len(columns))
	for i, c := range columns {
		titles[i] = c.title
	}
	fmt.Fprintln(w, strings.Join(titles, "\t"))
	for _, item := range list.Items {
		cells := make([]string, len(columns))
		for i, c := range columns {
			cells[i] = printable(c.value(item))
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	return w.Flush()
}

// printable replaces control characters by "?", and "" by "-", which keeps a table's
// columns apart. Why: host names, addresses and protocol names come from other nodes
// and from peers, and a terminal would obey an escape sequence in them. JSON needs no
// such step: its encoder escapes them.
func printable(s string) string {
	if s == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}

// age writes a duration for people, with its two largest units: what differs by
// seconds matters in the first minute and not after a day.
func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%dh", int(d.Hours())/24, int(d.Hours())%24)
}
