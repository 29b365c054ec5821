package nodecmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf16"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// The forms of output. JSON and YAML have every field; jsonl has one item a line, as
// jq and log collectors want it; a table has what fits into a line, wide the rest, and
// both may change with any version; name is the first column alone, one item a line, as
// xargs and shell loops want it.
const (
	formatTable = "table"
	formatWide  = "wide"
	formatJSON  = "json"
	formatLines = "jsonl"
	formatYAML  = "yaml"
	formatName  = "name"
)

var formats = []string{formatTable, formatWide, formatJSON, formatLines, formatYAML, formatName}

// output is the form in which a command prints its data to stdout, and what of a list
// is printed in which order. Tables are for people; the fields of JSON are API and only
// grow.
type output struct {
	format   string
	selected selection // of lists only
}

func (o *output) flag(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.format, "output", "o", formatTable, "form of the output: "+strings.Join(formats, ", "))
	_ = cmd.RegisterFlagCompletionFunc("output", completeFrom(formats...)) // the flag is there
}

// check refuses an unknown form before the node is asked: an order must not be
// carried out and then fail at the printing.
func (o *output) check() error {
	if !slices.Contains(formats, o.format) {
		return usageError{fmt.Errorf("--output is %q; there is %s", o.format, strings.Join(formats, ", "))}
	}
	return o.selected.check()
}

// forPrograms reports whether the form is one that programs read: then everything is a
// document.
func (o *output) forPrograms() bool {
	return o.format == formatJSON || o.format == formatLines || o.format == formatYAML
}

// document prints v as one document. HTML escaping is off, which would write > in a
// function's result as \u003e.
func (o *output) document(cmd *cobra.Command, v any) error {
	return documentTo(cmd.OutOrStdout(), o.format, v)
}

// documentTo writes v in a form for programs.
func documentTo(w io.Writer, format string, v any) error {
	if format == formatYAML {
		return yamlTo(w, v)
	}
	var text strings.Builder
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if format != formatLines {
		enc.SetIndent("", "  ")
	}
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := io.WriteString(w, escaped(text.String(), jsonEscape))
	return err
}

// Both encoders leave characters as they are that a terminal obeys or hides: the second
// set of control characters, marks that turn the direction of writing. A document is read
// by programs and looked at by people, so these are written as escapes, which mean the
// same to every reader. They can stand in a string only.
//
// escaped writes what has no form of its own as an escape; breaks of lines stay.
func escaped(text string, escape func(r rune) string) string {
	var b strings.Builder
	for _, r := range text {
		if unicode.IsPrint(r) || r == '\n' {
			b.WriteRune(r)
		} else {
			b.WriteString(escape(r))
		}
	}
	return b.String()
}

// jsonEscape is \u and four digits, twice for what lies beyond the first plane.
func jsonEscape(r rune) string {
	if high, low := utf16.EncodeRune(r); high != unicode.ReplacementChar {
		return fmt.Sprintf(`\u%04x\u%04x`, high, low)
	}
	return fmt.Sprintf(`\u%04x`, r)
}

// yamlEscape is \U and eight digits.
func yamlEscape(r rune) string { return fmt.Sprintf(`\U%08X`, r) }

// yamlTo prints v with the names and the order of its JSON: JSON is YAML, so it is read
// as such and written in block style. It is escaped twice: YAML refuses to read some
// characters that JSON has as they are, and its encoder writes some as they are.
func yamlTo(w io.Writer, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(escaped(string(text), yamlEscape)), &doc); err != nil {
		return err
	}
	unquote(&doc)
	var out strings.Builder
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	if err := errors.Join(enc.Encode(&doc), enc.Close()); err != nil {
		return err
	}
	_, err = io.WriteString(w, escaped(out.String(), yamlEscape))
	return err
}

// unquote takes the style of JSON off, so that the encoder quotes what needs it; what is
// escaped afterwards needs it, too. Empty lists and objects have no block style and stay
// as they are.
func unquote(n *yaml.Node) {
	n.Style = 0
	if strings.ContainsFunc(n.Value, func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' }) {
		n.Style = yaml.DoubleQuotedStyle
	}
	if n.Kind == yaml.MappingNode && len(n.Content) == 0 || n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
		n.Style = yaml.FlowStyle
	}
	for _, c := range n.Content {
		unquote(c)
	}
}

// column is one column of a table: its title and how an item is shown in it.
type column[T any] struct {
	title string
	value func(T) string
}

// wide stands between the usual columns and those that -o wide and --columns show.
func wide[T any]() column[T] { return column[T]{} }

// show prints a list in the wanted form, with the items and in the order that the flags
// select. The first column is the item's name, which is all that the form "name" prints.
func show[T any](cmd *cobra.Command, o *output, list *admin.List[T], columns ...column[T]) error {
	shown, all := split(columns)
	items, err := pick(o.selected, list.Items, all)
	if err != nil {
		return err
	}
	picked := *list
	picked.Items = items
	switch o.format {
	case formatJSON, formatYAML:
		return o.document(cmd, &picked)
	case formatLines:
		for _, item := range items {
			if err := o.document(cmd, item); err != nil {
				return err
			}
		}
		return nil
	case formatName:
		for _, item := range items {
			if _, err := fmt.Fprintln(cmd.OutOrStdout(), printable(all[0].value(item))); err != nil {
				return err
			}
		}
		return nil
	case formatWide:
		shown = all
	}
	if shown, err = chosen(o.selected.columns, shown, all); err != nil {
		return err
	}
	return table(cmd.OutOrStdout(), !o.selected.noHeaders, items, shown)
}

// split takes the mark between the usual columns and the wide ones out.
func split[T any](columns []column[T]) (usual, all []column[T]) {
	for i, c := range columns {
		if c.value == nil {
			return columns[:i], append(slices.Clone(columns[:i]), columns[i+1:]...)
		}
	}
	return columns, columns
}

// Who reads what is printed? A person looks at a table, and a terminal obeys what is in
// it; so every cell goes through printable. A program reads JSON and YAML, where the same
// characters are escapes. Names alone are read by shell loops and shown by them, so they
// are treated as cells.
//
// table prints items with columns as wide as they need.
func table[T any](out io.Writer, headers bool, items []T, columns []column[T]) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	cells := make([]string, len(columns))
	for i, c := range columns {
		cells[i] = c.title
	}
	if headers {
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	for _, item := range items {
		for i, c := range columns {
			cells[i] = printable(c.value(item))
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	return w.Flush()
}

// printable replaces what a terminal would obey or hide (control characters, marks that
// turn the direction of writing) by "?", and "" by "-", which keeps a table's columns
// apart. Why: host names, addresses, names of tasks and protocols come from other nodes
// and from peers. Documents have escapes in their places.
func printable(s string) string {
	if s == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// printableLines is printable for a text of several lines.
func printableLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		if line != "" {
			lines[i] = printable(line)
		}
	}
	return strings.Join(lines, "\n")
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
