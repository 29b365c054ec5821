// Command fuzz runs every fuzz target of the repository, one after another:
//
//	go run ./tests/fuzz                      # a minute each
//	go run ./tests/fuzz -for 10m -only wire  # those with that text in their package or name
//	go run ./tests/fuzz -list
//
// It finds the targets by asking each package that has some, so a new one needs no entry
// anywhere. It ends in a table, and in an error when one of them found something. The input
// that was found then lies in testdata/fuzz of the package, where ordinary tests run it from
// then on: mend what it shows, and keep it. What was only of interest stays in Go's own
// cache, and the next run begins there.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "fuzz:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("fuzz", flag.ContinueOnError)
	each := flags.Duration("for", time.Minute, "how long each target runs")
	only := flags.String("only", "", "texts, separated by |: run the targets that have one of them in their package or name")
	workers := flags.Int("j", 2, "inputs of one target at a time")
	list := flags.Bool("list", false, "print the targets and run none")
	if err := flags.Parse(args); err != nil {
		return err
	}
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	all, err := targets(ctx, root, *only)
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("no target has %q in its package or name", *only)
	}
	if err != nil {
		return err
	}
	if *list {
		for _, t := range all {
			fmt.Fprintln(out, t)
		}
		return nil
	}
	return tryAll(all, out, func(t target) (result, error) { return fuzz(ctx, root, t, *each, *workers, out) })
}

// result is what a run of a target has shown.
type result struct {
	inputs, fresh string // tried, and of interest beyond those known before
	took          time.Duration
}

// tryAll runs one target after another, goes on behind a finding, and ends in a table.
func tryAll(all []target, out io.Writer, try func(target) (result, error)) error {
	var table strings.Builder
	found := 0
	for i, t := range all {
		fmt.Fprintf(out, "%d of %d: %s\n", i+1, len(all), t)
		r, err := try(t)
		what := "ok"
		if err != nil {
			what, found = "FOUND: "+err.Error(), found+1
		}
		fmt.Fprintf(&table, "| %s | %s | %s | %v | %s |\n", t, r.inputs, r.fresh, r.took.Round(time.Second), what)
	}
	fmt.Fprintf(out, "\n| target | inputs | new ones of interest | took | result |\n|---|---|---|---|---|\n%s", table.String())
	if found > 0 {
		return fmt.Errorf("%d of %d targets found something: the inputs are in testdata/fuzz of their packages", found, len(all))
	}
	return nil
}

// progress is the last line of figures that the go command prints.
var progress = regexp.MustCompile(`execs: (\d+) .*new interesting: (\d+)`)

// fuzz runs one target; the error says that it found something, or did not run.
func fuzz(ctx context.Context, root string, t target, each time.Duration, workers int, out io.Writer) (r result, err error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-vet=off", "-run", "^$", "-fuzz", "^"+t.name+"$", "-fuzztime", each.String(), "-parallel", fmt.Sprint(workers), t.pkg)
	cmd.Dir = root
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	begin := time.Now()
	text, err := cmd.CombinedOutput()
	r.took = time.Since(begin)
	if all := progress.FindAllSubmatch(text, -1); len(all) > 0 {
		last := all[len(all)-1]
		r.inputs, r.fresh = string(last[1]), string(last[2])
	}
	if err == nil && r.inputs == "" {
		err = fmt.Errorf("it printed no figures")
	}
	if err != nil {
		_, _ = out.Write(text)
	}
	return r, err
}

func moduleRoot(ctx context.Context) (string, error) {
	text, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	return strings.TrimSpace(string(text)), err
}
