package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// figures are those of a run in which loopmesh is twice as fast as Go net in every round.
func figures() (samples, printed string) {
	var s, b strings.Builder
	s.WriteString("load,server,round,measure,value\nmachine,a small machine,0,,0\ngates,gnet: half-close,0,failed,1\n")
	names := append([]string{"idle connections"}, loads...)
	for _, n := range []int{100, 400, 1600, 6400, 17000} {
		names = append(names, fmt.Sprint("growth ", n))
	}
	for _, load := range names {
		for server, rate := range map[string]float64{"loopmesh": 200, "Go net": 100, "C epoll": 250} {
			for round := range 3 {
				for _, measure := range []string{"requests/s", "cpu us", "user us", "p50 us", "p99 us", "p99.9 us", "max us", "resident bytes each"} {
					fmt.Fprintf(&s, "%q,%s,%d,%s,%g\n", load, server, round, measure, rate*float64(round+1))
				}
			}
		}
	}
	for _, r := range rows {
		for _, v := range []float64{1, 3, 2} {
			fmt.Fprintf(&b, "Benchmark%s-2   \t 10\t 99 other/op\t %g %s\n", r.benchmark, v, r.unit)
		}
	}
	return s.String(), b.String()
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReport(t *testing.T) {
	tree := t.TempDir()
	samples, printed := figures()
	s, b := write(t, tree, "peers.csv", samples), write(t, tree, "bench.txt", printed)
	readme := write(t, tree, "README.md", "before\n"+begin+"old\n"+end+"after\n")
	for range 2 { // a second run replaces the first
		if err := report(s, b, tree); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"before\n", "after\n", "a small machine", "| 64 connections | 0.80 | – | – | 2.00 |"} {
		if !strings.Contains(string(got), want) {
			t.Errorf("README has no %q:\n%s", want, got)
		}
	}
	if strings.Contains(string(got), "old") || strings.Count(string(got), begin) != 1 {
		t.Errorf("README: %s", got)
	}
	page, err := os.ReadFile(filepath.Join(tree, "docs", "performance.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"half-close", "| loopmesh | 0.4 (0.2–0.6) |", "2.00 (1.00–3.00)", "| loopmesh | 400 (200–600) |"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page has no %q:\n%s", want, page)
		}
	}
	for _, plot := range []string{"cpu.svg", "growth.svg"} {
		if svg, err := os.ReadFile(filepath.Join(tree, "docs", "performance", plot)); err != nil || !strings.Contains(string(svg), "<svg") {
			t.Errorf("%s: %v", plot, err)
		}
	}
}

func TestARunThatLacksARowIsRefused(t *testing.T) {
	tree := t.TempDir()
	samples, printed := figures()
	readme := "x\n" + begin + end
	for _, c := range []struct{ samples, printed, readme, want string }{
		{samples, strings.ReplaceAll(printed, "BenchmarkTLSIdle", "BenchmarkGone"), readme, "TLSIdle"},
		{strings.ReplaceAll(samples, "idle connections", "gone"), printed, readme, "idle connections"},
		{"load,server\n", printed, readme, "not a file"},
		{samples, printed, "no marks\n", "does not hold"},
		{samples, strings.ReplaceAll(printed, " 3 ", " x "), readme, "invalid syntax"},
	} {
		write(t, tree, "README.md", c.readme)
		err := report(write(t, tree, "p", c.samples), write(t, tree, "b", c.printed), tree)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}
