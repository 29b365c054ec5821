// Command report makes the page and the table of figures from what the benchmarks of
// one run have written:
//
//	go run ./report -peers peers.csv -bench bench.txt -tree ../..
//
// It writes docs/performance.md, its plots, and the table between two marks of the README.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	begin = "<!-- make bench writes from here -->\n"
	end   = "<!-- to here -->\n"
)

func main() {
	samples := flag.String("peers", "", "what peers -raw has written")
	printed := flag.String("bench", "", "what go test -bench has printed")
	tree := flag.String("tree", "../..", "the tree whose README and docs are written")
	flag.Parse()
	if err := report(*samples, *printed, *tree); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

func report(samples, printed, tree string) error {
	f, err := os.Open(samples)
	if err != nil {
		return err
	}
	defer f.Close()
	p, err := readPeers(f)
	if err != nil {
		return err
	}
	g, err := os.Open(printed)
	if err != nil {
		return err
	}
	defer g.Close()
	bench, err := readBench(g)
	if err != nil {
		return err
	}
	if err := complete(p, bench); err != nil {
		return err
	}
	dir := filepath.Join(tree, "docs", "performance")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := plots(p, dir); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tree, "docs", "performance.md"), []byte(page(p, bench)), 0o644); err != nil {
		return err
	}
	return between(filepath.Join(tree, "README.md"), fmt.Sprintf("Measured by one run of `make bench`: %s.\n\n%s\nRanges, growth, memory and everything else: [docs/performance.md](docs/performance.md).\n", p.machine, short(p)))
}

// complete refuses a run in which a row of the page would be empty.
func complete(p *peers, bench map[string]map[string]series) (err error) {
	for _, r := range rows {
		if len(bench[r.benchmark][r.unit]) == 0 {
			err = errors.Join(err, fmt.Errorf("no benchmark %s has printed %s", r.benchmark, r.unit))
		}
	}
	for _, load := range append([]string{"idle connections"}, loads...) {
		if len(p.loads[load][ours]) == 0 {
			err = errors.Join(err, fmt.Errorf("no figures of %s", load))
		}
	}
	return err
}

// between replaces what stands between the two marks of a file.
func between(file, text string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, ok1 := strings.Cut(string(b), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		return fmt.Errorf("%s does not hold the two lines between which the table goes", file)
	}
	return os.WriteFile(file, []byte(before+begin+text+end+after), 0o644)
}
