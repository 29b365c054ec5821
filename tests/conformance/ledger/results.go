package ledger

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// Results is what a run of the tests said about behaviours.
type Results struct {
	Tests  int                // subtests that claim a behaviour
	Proofs map[string][]Proof // by ID
}

// Proof is one test that claims a behaviour and what became of it.
type Proof struct {
	Test    string // package and name
	Passed  bool
	Skipped bool
}

// event is one line of go test -json.
type event struct {
	Action  string
	Package string
	Test    string
}

// tally counts what was said of one test, over all its runs (-count).
type tally struct{ begun, passed, failed, skipped int }

// bad: it failed once, or began and never ended because its package crashed
// or ran out of time.
func (t tally) bad() bool { return t.failed > 0 || t.begun > t.passed+t.skipped }

// ReadResults reads the output of go test -json to its end. Lines that are no
// JSON, as build errors are, are passed over: what did not run is not proven.
func ReadResults(r io.Reader) (*Results, error) {
	tallies := map[[2]string]*tally{}
	var order [][2]string
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadBytes('\n')
		var e event
		if json.Unmarshal(bytes.TrimSpace(line), &e) == nil && e.Test != "" {
			key := [2]string{e.Package, e.Test}
			if tallies[key] == nil {
				tallies[key] = &tally{}
				order = append(order, key)
			}
			tallies[key].count(e.Action)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading test results: %w", err)
		}
	}
	res := &Results{Proofs: map[string][]Proof{}}
	for _, key := range order {
		res.add(key[0], key[1], *tallies[key])
	}
	return res, nil
}

func (t *tally) count(action string) {
	switch action {
	case "run":
		t.begun++
	case "pass":
		t.passed++
	case "fail":
		t.failed++
	case "skip":
		t.skipped++
	}
}

// doneName is how go test prints a claim: spaces have become underscores.
var doneName = regexp.MustCompile(`^[A-Z]{2,4}-\d{2}(_[A-Z]{2,4}-\d{2})*(_|#|$)`)

func (r *Results) add(pkg, test string, t tally) {
	own := test[strings.LastIndex(test, "/")+1:]
	claim := doneName.FindString(own)
	if claim == "" || own == test {
		return // a test function's own name claims nothing
	}
	r.Tests++
	claim, _, _ = strings.Cut(claim, "#")
	proof := Proof{Test: pkg + " " + test, Passed: !t.bad() && t.passed > 0, Skipped: !t.bad() && t.passed == 0}
	for id := range strings.SplitSeq(strings.TrimSuffix(claim, "_"), "_") {
		r.Proofs[id] = append(r.Proofs[id], proof)
	}
}
