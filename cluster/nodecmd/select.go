package nodecmd

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// What of a list is printed, in which order, and how often. Fields are named as in the
// JSON of the same list ("measured.lag_p99_us"), so that one who has looked at -o json
// knows all of them, or by the title of a column.
//
// The order is: ask, filter, sort, choose columns, print. All of it happens here and not
// on the node: a list is what the API gives, whole, and a second program that reads the
// API sees the same. What is partial is judged on the whole list, too: a filter must not
// hide that a node did not answer.
//
// A mistake in a flag (an unknown field, an operator that is none) is an error of usage
// with the names that there are, and nothing is printed: a script that filters by a
// misspelt field must not read an empty list as "there is none".

// selection holds the flags that every list has.
type selection struct {
	columns   []string
	sort      string
	filters   []string
	noHeaders bool
	watch     time.Duration // 0: once
}

// flags adds the flags. A list that is asked for by id alone (task show) has none of
// them: there is nothing to choose from.
func (s *selection) flags(cmd *cobra.Command) {
	s.choiceFlags(cmd)
	f := cmd.Flags()
	f.DurationVar(&s.watch, "watch", 0, "print again after this time, until Ctrl-C; without a value every second")
	f.Lookup("watch").NoOptDefVal = "1s"
}

// choiceFlags are those about what is shown, for lists that nothing but this user changes.
func (s *selection) choiceFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVar(&s.columns, "columns", nil, "the columns of the table, by their titles, in this order")
	f.StringVar(&s.sort, "sort", "", "sort by this field of -o json or column; with - before it, the largest first")
	f.StringArrayVar(&s.filters, "filter", nil, "only items with FIELD=VALUE; also != > < >= <= and ~ (contains); given several times, all must hold")
	f.BoolVar(&s.noHeaders, "no-headers", false, "print the table without its titles")
}

// leastWatch keeps a list from being asked for in a tight loop.
const leastWatch = 100 * time.Millisecond

// check refuses what no list could do.
func (s *selection) check() error {
	if s.watch != 0 && s.watch < leastWatch {
		return usageError{fmt.Errorf("--watch is %v; give %v or more", s.watch, leastWatch)}
	}
	for _, f := range s.filters {
		if _, err := parseFilter(f); err != nil {
			return err
		}
	}
	return nil
}

// filter is FIELD OP VALUE.
type filter struct{ field, op, value string }

// operators, the longer ones first.
var operators = []string{"!=", ">=", "<=", "=", ">", "<", "~"}

// parseFilter cuts a filter at its operator: the first place where one stands, and
// there the longest one, so that a>=1 is not read as a > "=1". The field may be one
// that the list does not have; fieldOf finds that out, with the list at hand.
func parseFilter(text string) (filter, error) {
	if at := strings.IndexAny(text, "!<>=~"); at > 0 {
		for _, op := range operators {
			if value, ok := strings.CutPrefix(text[at:], op); ok {
				return filter{strings.TrimSpace(text[:at]), op, strings.TrimSpace(value)}, nil
			}
		}
	}
	return filter{}, usageError{fmt.Errorf("--filter is %q; write FIELD=VALUE, with one of = != > < >= <= ~", text)}
}

// holds reports whether a field of an item is as the filter wants it. An item that
// omits the field has "" there, which is neither larger nor smaller than a number: it
// is compared as text, and so passes = and != only in the way one expects.
func (f filter) holds(have string) bool {
	if f.op == "~" {
		return strings.Contains(have, f.value)
	}
	c := compare(have, f.value)
	switch f.op {
	case "=":
		return c == 0
	case "!=":
		return c != 0
	case ">":
		return c > 0
	case "<":
		return c < 0
	case ">=":
		return c >= 0
	}
	return c <= 0
}

// compare compares numbers and durations by their value, and everything else as text.
func compare(a, b string) int {
	if x, ok := number(a); ok {
		if y, ok := number(b); ok {
			return cmp.Compare(x, y)
		}
	}
	return strings.Compare(a, b)
}

// number reads 12, 0.5 and 10ms; a duration counts in microseconds, as fields whose
// name ends in _us do.
func number(text string) (float64, bool) {
	if v, err := strconv.ParseFloat(text, 64); err == nil {
		return v, true
	}
	if d, err := time.ParseDuration(text); err == nil {
		return float64(d) / float64(time.Microsecond), true
	}
	return 0, false
}

// pick leaves the items that the filters want, in the order that is asked for; items
// that are equal keep theirs.
func pick[T any](s selection, items []T, columns []column[T]) ([]T, error) {
	if s.sort == "" && len(s.filters) == 0 {
		return items, nil
	}
	values := func(name string) ([]string, error) { return fieldOf(name, items, columns) }
	keep := make([]int, len(items))
	for i := range keep {
		keep[i] = i
	}
	for _, text := range s.filters {
		f, err := parseFilter(text)
		if err != nil {
			return nil, err
		}
		have, err := values(f.field)
		if err != nil {
			return nil, err
		}
		keep = slices.DeleteFunc(keep, func(i int) bool { return !f.holds(have[i]) })
	}
	if name, down := strings.CutPrefix(s.sort, "-"); name != "" {
		have, err := values(name)
		if err != nil {
			return nil, err
		}
		slices.SortStableFunc(keep, func(a, b int) int {
			if down {
				a, b = b, a
			}
			return compare(have[a], have[b])
		})
	}
	out := make([]T, 0, len(keep))
	for _, i := range keep {
		out = append(out, items[i])
	}
	return out, nil
}

// fieldOf gives a field of every item as text: a field of its JSON, or what a column
// shows. An error names those that there are. A field that some items omit is "" there.
func fieldOf[T any](name string, items []T, columns []column[T]) ([]string, error) {
	out, known := make([]string, len(items)), jsonFields("", reflect.TypeFor[T]())
	isField := slices.Contains(known, name)
	for i, item := range items {
		fields := map[string]string{}
		text, err := json.Marshal(item)
		if err != nil {
			return nil, err
		}
		var v map[string]any
		in := json.NewDecoder(strings.NewReader(string(text)))
		in.UseNumber()
		if err := in.Decode(&v); err != nil {
			return nil, err
		}
		flatten("", v, fields)
		out[i] = fields[name]
	}
	if isField {
		return out, nil
	}
	for _, c := range columns {
		if strings.EqualFold(c.title, name) {
			for i, item := range items {
				out[i] = c.value(item)
			}
			return out, nil
		}
	}
	return nil, usageError{fmt.Errorf("there is no field %q; there is %s", name, strings.Join(known, ", "))}
}

// jsonFields are the paths of the fields that the JSON of a type may have.
func jsonFields(path string, t reflect.Type) (out []string) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[time.Time]() {
		return []string{path}
	}
	for i := range t.NumField() {
		f := t.Field(i)
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous:
			out = append(out, jsonFields(path, f.Type)...)
		case tag != "" && tag != "-" && f.IsExported():
			out = append(out, jsonFields(strings.TrimPrefix(path+"."+tag, "."), f.Type)...)
		}
	}
	return out
}

// flatten gives every field below v by its path. A list is its parts with commas.
func flatten(path string, v any, out map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		for k, below := range v {
			flatten(strings.TrimPrefix(path+"."+k, "."), below, out)
		}
	case []any:
		var parts []string
		for _, p := range v {
			parts = append(parts, fmt.Sprint(p))
		}
		out[path] = strings.Join(parts, ",")
	default:
		out[path] = fmt.Sprint(v)
	}
}

// chosen gives the columns that --columns names, those of the form without it.
func chosen[T any](names []string, usual, all []column[T]) ([]column[T], error) {
	if len(names) == 0 {
		return usual, nil
	}
	var out []column[T]
	var titles []string
	for _, c := range all {
		titles = append(titles, c.title)
	}
	for _, name := range names {
		i := slices.IndexFunc(titles, func(t string) bool { return strings.EqualFold(t, name) })
		if i < 0 {
			return nil, usageError{fmt.Errorf("there is no column %q; there is %s", name, strings.Join(titles, ", "))}
		}
		out = append(out, all[i])
	}
	return out, nil
}

// repeat runs once, or again and again with --watch until Ctrl-C. On a terminal each
// time is printed over the last one; elsewhere they stand below each other. An answer
// that is partial is told and does not end it; anything else does.
func (s *selection) repeat(cmd *cobra.Command, once func() error) error {
	if s.watch == 0 {
		return once()
	}
	tick := time.NewTicker(s.watch)
	defer tick.Stop()
	for {
		if isTerminal(cmd.OutOrStdout()) {
			fmt.Fprint(cmd.OutOrStdout(), "\x1b[H\x1b[2J")
		}
		if err := once(); err != nil {
			e, code := classify(cmd, err)
			if code != exitUnreachable || e.Code != codePartial {
				return err
			}
			fmt.Fprintln(cmd.ErrOrStderr(), printableLines(e.Message))
		}
		select {
		case <-cmd.Context().Done():
			return nil
		case <-tick.C:
		}
	}
}

// isTerminal reports whether w is a terminal.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
