package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"strings"
	"sync"
	"time"
)

//go:embed rows
var tables embed.FS

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("mutants", flag.ContinueOnError)
	only := flags.String("only", "", "texts, separated by |: run the rows that have one of them in their name or file")
	quick := flags.Bool("quick", false, "run the rows marked quick")
	jobs := flags.Int("j", 2, "mutants at a time")
	slow := flags.Int("slow", 1, "the tests may take so many times as long: the machine is busy")
	if err := flags.Parse(args); err != nil {
		return err
	}
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	rows, err := load(tables)
	if err != nil {
		return err
	}
	var chosen []row
	for _, r := range rows {
		if r.chosen(*only, *quick) {
			r.limit *= time.Duration(max(*slow, 1))
			chosen = append(chosen, r)
		}
	}
	if len(chosen) == 0 {
		return errors.New("no row is chosen")
	}
	return tryAll(ctx, root, chosen, *jobs, out)
}

// moduleRoot is the folder of the module that the command runs in.
func moduleRoot() (string, error) {
	raw, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	return string(bytes.TrimSpace(raw)), err
}

// load reads all tables.
func load(from fs.FS) (rows []row, err error) {
	names, err := fs.Glob(from, "rows/*.txt")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		text, err := fs.ReadFile(from, name)
		if err != nil {
			return nil, err
		}
		more, err := parse(path.Base(name), bytes.NewReader(text))
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

func (r *row) chosen(only string, quick bool) bool {
	if quick && !r.quick {
		return false
	}
	for word := range strings.SplitSeq(only, "|") {
		if strings.Contains(r.name, word) || strings.Contains(r.file, word) || strings.Contains(r.at, word) {
			return true
		}
	}
	return false
}

// tally is the result of all rows so far. Guarded by mu.
type tally struct {
	mu                                              sync.Mutex
	out                                             io.Writer
	done, noticed, equivalent, wrong, lost, untried int
}

// tryAll tries the rows, jobs at a time, and reports each as it ends. The error says how
// many survived or are wrong.
func tryAll(ctx context.Context, root string, rows []row, jobs int, out io.Writer) error {
	begin, t := time.Now(), &tally{out: out}
	var work sync.WaitGroup
	slots := make(chan struct{}, max(jobs, 1))
	for _, r := range rows {
		slots <- struct{}{}
		// goroutine: owner: tryAll; ends with the go command that it runs
		work.Go(func() {
			defer func() { <-slots }()
			if ctx.Err() == nil {
				what, detail := r.try(ctx, root)
				t.add(&r, what, detail)
			}
		})
	}
	work.Wait()
	fmt.Fprintf(out, "%d mutants in %v: %d noticed, %d equivalent, %d survived, %d survived their first try, %d rows are wrong\n",
		t.done, time.Since(begin).Round(time.Second), t.noticed, t.equivalent, t.lost, t.untried, t.wrong)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case t.lost+t.wrong > 0:
		return fmt.Errorf("%d mutants survived: their promises have no test; %d rows are wrong", t.lost, t.wrong)
	}
	return nil
}

func (t *tally) add(r *row, what outcome, detail string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done++
	switch {
	case r.untried && what != noticed:
		t.untried++
		t.say("UNTRIED", r, "it survives: write the test, or correct the row; "+detail)
	case what == broken:
		t.wrong++
		t.say("WRONG", r, detail)
	case what == noticed && r.equivalent != "":
		t.wrong++
		t.say("WRONG", r, "it says equivalent, but a test notices it: "+detail)
	case what == noticed:
		t.noticed++
		t.say("noticed", r, detail)
	case r.equivalent != "":
		t.equivalent++
		t.say("equivalent", r, r.equivalent)
	default:
		t.lost++
		t.say("SURVIVED", r, r.file)
	}
}

func (t *tally) say(word string, r *row, detail string) {
	fmt.Fprintf(t.out, "%-10s %s: %s (%s)\n", word, r.at, r.name, strings.TrimSpace(detail))
}
