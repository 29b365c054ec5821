package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cmd/node/admin"
)

// The forms of output. Data goes to stdout in one of them, everything else to stderr, so that
// a pipe never reads a message as data.
const (
	formatTable = "table"
	formatJSON  = "json"
	formatName  = "name"
)

// output is the form in which a command prints its data to stdout: a table for
// people, JSON for programs (its fields are API and never change), or names only
// for shells.
type output struct{ format string }

func (o *output) flag(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.format, "output", "o", formatTable, "table, json or name")
	_ = cmd.RegisterFlagCompletionFunc("output", words(formatTable, formatJSON, formatName)) // the flag is there
}

func (o *output) check() error {
	switch o.format {
	case formatTable, formatJSON, formatName:
		return nil
	}
	return usageError{fmt.Errorf("--output is %q; there is table, json and name", o.format)}
}

// document prints v as one JSON document.
func (o *output) document(cmd *cobra.Command, v any) error {
	enc := json.NewEncoder(cmd.OutOrStdout())
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// column is one of a table.
type column[T any] struct {
	title string
	value func(T) string
}

// show prints a list in the wanted form. Its first column is the name.
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

// printable replaces control characters. Why: names come from other nodes and
// from peers, and a terminal would obey an escape sequence in them.
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

// age writes a duration for people, with its two largest units.
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
