package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// row is one mutant.
type row struct {
	name       string   // the promise that it breaks
	at         string   // file and line of the table
	file       string   // slash-separated path below the root
	test       []string // arguments of go test
	old, new   []string // lines
	quick      bool
	untried    bool // nobody has seen it noticed yet
	limit      time.Duration
	equivalent string // why no test can notice it; "" for all others
}

const defaultLimit = 2 * time.Minute

// parse reads the rows of one table.
func parse(name string, r io.Reader) (rows []row, err error) {
	lines, n, begin := []string{}, 0, 1
	end := func() error {
		if len(lines) == 0 {
			return nil
		}
		one, err := parseRow(lines)
		if err != nil {
			return fmt.Errorf("%s:%d: %w", name, begin, err)
		}
		one.at = fmt.Sprintf("%s:%d", name, begin)
		rows, lines = append(rows, one), nil
		return nil
	}
	in := bufio.NewScanner(r)
	for in.Scan() {
		n++
		if in.Text() != "" {
			if len(lines) == 0 {
				begin = n
			}
			lines = append(lines, in.Text())
			continue
		}
		if err := end(); err != nil {
			return nil, err
		}
	}
	return rows, errors.Join(in.Err(), end())
}

func parseRow(lines []string) (row, error) {
	one := row{limit: defaultLimit}
	for _, line := range lines {
		word, rest, _ := strings.Cut(line, " ")
		var err error
		switch word {
		case "#":
			one.name = rest
		case "file":
			one.file = rest
		case "test":
			one.test = strings.Fields(rest)
		case "-":
			one.old = append(one.old, rest)
		case "+":
			one.new = append(one.new, rest)
		case "quick":
			one.quick = true
		case "untried":
			one.untried = true
		case "time":
			one.limit, err = time.ParseDuration(rest)
		case "equivalent":
			one.equivalent = rest
		default:
			err = fmt.Errorf("a line of a row begins with %q", word)
		}
		if err != nil {
			return row{}, err
		}
	}
	if one.name == "" || one.file == "" || len(one.test) == 0 || len(one.old) == 0 {
		return row{}, errors.New("a row needs a name (#), file, test and an old text (-)")
	}
	return one, nil
}

// errStale: the old text is not in the file exactly once.
var errStale = errors.New("stale row")

// apply makes the change in the text of the row's file.
func (r *row) apply(text string) (string, error) {
	lines := strings.Split(text, "\n")
	found := -1
	for i := range len(lines) - len(r.old) + 1 {
		if !sameLines(lines[i:i+len(r.old)], r.old) {
			continue
		}
		if found >= 0 {
			return "", fmt.Errorf("%w: lines %d and %d of %s both have its old text", errStale, found+1, i+1, r.file)
		}
		found = i
	}
	if found < 0 {
		return "", fmt.Errorf("%w: its old text is not in %s", errStale, r.file)
	}
	if sameLines(r.old, r.new) {
		return "", fmt.Errorf("%w: it changes nothing", errStale)
	}
	after := append([]string{}, lines[found+len(r.old):]...)
	return strings.Join(append(append(lines[:found], r.new...), after...), "\n"), nil
}

// sameLines compares lines without their indentation and without a comment at their end,
// so that a better comment makes no row stale.
func sameLines(a, b []string) bool {
	return slices.EqualFunc(a, b, func(a, b string) bool { return codeOf(a) == codeOf(b) })
}

func codeOf(line string) string {
	code, _, _ := strings.Cut(line, " // ")
	return strings.TrimSpace(code)
}
