package ledger

import (
	"fmt"
	"slices"
)

// State is where a behaviour stands.
type State string

// The states. A behaviour whose tests were not part of the run, or only
// skipped, is not yet proven.
const (
	Passed        State = "passed"
	Failed        State = "failed"
	NotApplicable State = "not applicable"
	NotYet        State = "not yet"
)

// Entry is one behaviour with its state.
type Entry struct {
	ID      string `json:"id"`
	Area    string `json:"area"`
	Text    string `json:"text"`
	State   State  `json:"state"`
	Differs string `json:"differs,omitempty"` // the reason, when it is not asyncio's
	Claims  int    `json:"claims"`            // places in the tests that claim it
}

// Account is the whole report.
type Account struct {
	Entries  []Entry  `json:"behaviours"`
	Ran      bool     `json:"ran"`      // test results were read
	Problems []string `json:"problems"` // why the report fails
}

// Balance puts the books together. Without results (nil) nothing is proven and
// nothing required is missed: only what is wrong on paper is a problem.
func Balance(c *Catalogue, claims []Claim, r *Results) *Account {
	a := &Account{Ran: r != nil, Problems: []string{}}
	if r == nil {
		r = &Results{}
	}
	count := a.countClaims(c, claims)
	for _, b := range c.Behaviours {
		d := c.Differences[b.ID]
		e := Entry{b.ID, b.Area, b.Text, stateOf(d, r.Proofs[b.ID]), d.Reason, count[b.ID]}
		a.Entries = append(a.Entries, e)
		a.judge(e, d, r.Proofs[b.ID])
	}
	a.checkRun(c, r)
	return a
}

// countClaims counts the claims by ID and refuses unknown IDs. A string in a
// table counts as a claim only if its area exists: "UTF-16 text" is no claim.
func (a *Account) countClaims(c *Catalogue, claims []Claim) map[string]int {
	count := map[string]int{}
	for _, cl := range claims {
		if !cl.Direct && !c.hasArea(cl.IDs[0]) {
			continue
		}
		if !cl.Asserts {
			a.problem("%s: %q asserts nothing: nothing in it can fail", cl.Place(), cl.Name)
		}
		for _, id := range cl.IDs {
			count[id]++
			if !c.Has(id) {
				a.problem("%s: claims %s, which is not in the catalogue", cl.Place(), id)
			}
		}
	}
	return count
}

func stateOf(d Difference, proofs []Proof) State {
	state := NotYet
	for _, p := range proofs {
		switch {
		case p.Passed:
			state = Passed
		case !p.Skipped:
			return Failed
		}
	}
	if d.NotApplicable && state == NotYet {
		return NotApplicable
	}
	return state
}

func (a *Account) judge(e Entry, d Difference, proofs []Proof) {
	if d.NotApplicable && (e.Claims > 0 || len(proofs) > 0) {
		a.problem("%s is not applicable (differences.md) and a test claims it: one of the two is wrong", e.ID)
	}
	for _, p := range proofs {
		if !p.Passed && !p.Skipped {
			a.problem("%s failed in %s", e.ID, p.Test)
		}
	}
}

// checkRun looks for what the run alone can show.
func (a *Account) checkRun(c *Catalogue, r *Results) {
	if !a.Ran {
		return
	}
	for _, id := range c.Required {
		if s := a.stateOf(id); s != Passed {
			a.problem("%s is required and is %s", id, s)
		}
	}
	for id, proofs := range r.Proofs {
		if !c.Has(id) && c.hasArea(id) {
			a.problem("%s claims %s, which is not in the catalogue", proofs[0].Test, id)
		}
	}
	slices.Sort(a.Problems)
}

func (a *Account) stateOf(id string) State {
	for _, e := range a.Entries {
		if e.ID == id {
			return e.State
		}
	}
	return NotYet
}

func (a *Account) problem(format string, args ...any) {
	a.Problems = append(a.Problems, fmt.Sprintf(format, args...))
}

// Count is how many behaviours are in a state; in which area, "" for all.
func (a *Account) Count(area string, s State) int {
	n := 0
	for _, e := range a.Entries {
		if e.State == s && (area == "" || e.Area == area) {
			n++
		}
	}
	return n
}

// IDs lists the behaviours in a state, in the catalogue's order.
func (a *Account) IDs(s State) []string {
	var out []string
	for _, e := range a.Entries {
		if e.State == s {
			out = append(out, e.ID)
		}
	}
	return out
}

// Require adds what passed to the list of what must pass, in the catalogue's
// order, and gives the text of the new RequiredFile. It takes nothing away.
func (a *Account) Require(c *Catalogue) string {
	text := "# Behaviours that must stay proven: one ID a line, kept by the report (-require).\n"
	for _, e := range a.Entries {
		if e.State == Passed || slices.Contains(c.Required, e.ID) {
			text += e.ID + "\n"
		}
	}
	return text
}
