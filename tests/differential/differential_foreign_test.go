//go:build foreign

package differential

import (
	"bufio"
	"encoding/json"
	"flag"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

var (
	seeds = flag.Uint64("seeds", 2000, "how many programs")
	first = flag.Uint64("first", 0, "the first seed")
	less  = flag.String("without", "", "an op that programs have not")
	shown = flag.Bool("show", false, "print every program and its log")
)

// python is an interpreter of programs under CPython. Owned by the test.
type python struct {
	in  io.WriteCloser
	out *bufio.Scanner
}

func startPython(t *testing.T) *python {
	t.Helper()
	if _, err := os.Stat("python/node_modules/pyodide"); err != nil {
		t.Fatal("this test needs the CPython of the npm package pyodide; run: make pyodide")
	}
	cmd := exec.Command("node", "python/run.mjs")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error("CPython:", err)
		}
	})
	return &python{in: in, out: bufio.NewScanner(out)}
}

// run is the log of p under CPython.
func (py *python) run(t *testing.T, p *Program) (lines []string) {
	t.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := py.in.Write(append(text, '\n')); err != nil {
		t.Fatal(err)
	}
	for py.out.Scan() {
		if py.out.Text() == "=" {
			return lines
		}
		lines = append(lines, py.out.Text())
	}
	t.Fatal("CPython has ended:", py.out.Err())
	return nil
}

// TestRandomPrograms compares the logs of random programs, and makes the first few
// that differ as small as they can be.
func TestRandomPrograms(t *testing.T) {
	py := startPython(t)
	lines, bad := 0, 0
	for seed := *first; seed < *first+*seeds; seed++ {
		p := Generate(seed, *less)
		_, theirs, same := compare(t, py, p)
		if *shown {
			t.Logf("%s", strings.Join(theirs, "\n"))
		}
		lines += len(theirs)
		if same {
			continue
		}
		if bad++; bad <= 3 {
			small := Minimise(p, func(p *Program) bool { _, _, same := compare(t, py, p); return !same })
			ours, theirs, _ := compare(t, py, small)
			text, _ := json.MarshalIndent(small, "", " ")
			t.Errorf("seed %d differs:\n%s\nloopmesh:\n%s\nCPython:\n%s", seed, text, strings.Join(ours, "\n"), strings.Join(theirs, "\n"))
		}
	}
	t.Logf("%d programs, %d lines of log, %d differ", *seeds, lines, bad)
	if bad > 3 {
		t.Errorf("%d programs differ", bad)
	}
	if lines < int(*seeds)*10 {
		t.Error("the programs do next to nothing")
	}
}

func compare(t *testing.T, py *python, p *Program) (ours, theirs []string, same bool) {
	t.Helper()
	theirs = py.run(t, p)
	ours, err := Interpret(p)
	if err != nil {
		ours = append(ours, "error: "+err.Error())
	}
	return ours, theirs, slices.Equal(ours, theirs)
}
