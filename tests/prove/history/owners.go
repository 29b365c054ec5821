package history

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// step of an owner, for the model.
type ownerStep struct {
	act   bool
	token uint64
}

// ownership is a name as the model has it: its state is the token of the present owner. A
// claim gives a higher one than all before it; an owner that finds itself the owner must
// be the last one that claimed. So an owner has to end before the next one begins, also
// when it was stopped or cut off. A claim without an answer can be left out: nobody acts
// with its token.
var ownership = porcupine.Model{
	Init: func() any { return uint64(0) },
	Step: func(state, input, _ any) (bool, any) {
		now, in := state.(uint64), input.(ownerStep)
		if in.act {
			return now == in.token, now
		}
		return in.token > now, in.token
	},
	DescribeOperation: func(input, _ any) string { return fmt.Sprintf("%+v", input) },
}

// Owners checks that no two processes were the owner of a name at one time: that the
// claims and the looks at Held that said yes have an order in which only the latest
// claimant finds itself the owner. limit bounds the search.
func Owners(all []Event, limit time.Duration) Result {
	began, names := map[string]int64{}, map[string][]porcupine.Operation{}
	var r Result
	claims := 0
	for _, e := range all {
		switch {
		case e.Op == Claim && e.Step == Invoke:
			began[e.ID] = e.At
		case e.Op == Claim && e.Step == OK:
			claims++
			names[e.To] = append(names[e.To], porcupine.Operation{Input: ownerStep{false, e.N}, Call: began[e.ID], Return: e.At})
		case e.Op == Act:
			names[e.To] = append(names[e.To], porcupine.Operation{Input: ownerStep{true, e.N}, Call: e.From, Return: e.At})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		r.Ops += len(names[name])
		switch porcupine.CheckOperationsTimeout(ownership, names[name], limit) {
		case porcupine.Illegal:
			r.breach("%s: two owners at one time: %s", name, overlap(names[name]))
		case porcupine.Unknown:
			r.breach("%s: no verdict within %v on %d operations", name, limit, len(names[name]))
		}
	}
	r.Figures = fmt.Sprintf("%d names, %d owners, %d looks", len(names), claims, r.Ops-claims)
	return r
}

// overlap names a pair of acts that shows the fault, if there is a plain one.
func overlap(ops []porcupine.Operation) string {
	var highest porcupine.Operation
	slices.SortFunc(ops, func(a, b porcupine.Operation) int { return int(min(max(a.Return-b.Return, -1), 1)) })
	for _, o := range ops {
		in := o.Input.(ownerStep)
		switch top, _ := highest.Input.(ownerStep); {
		case in.act && in.token > top.token:
			highest = o
		case in.act && in.token < top.token && o.Call > highest.Return:
			return fmt.Sprintf("token %d acted at %d, and %d at %d", top.token, highest.Return, in.token, o.Call)
		}
	}
	return "porcupine finds no order of its claims and acts"
}

// Tokens checks what a sink took of the owners of names: never a token behind a higher one.
// An owner that was replaced tries on purpose (Late).
func Tokens(all []Event) Result {
	var r Result
	last := map[string]uint64{}
	tried, refused := 0, 0
	for _, e := range all {
		switch {
		case e.Op == Effect && strings.HasPrefix(e.To, NameList):
			r.Ops++
			if e.N < last[e.To] {
				r.breach("%s: an effect of token %d behind one of %d", e.To, e.N, last[e.To])
			}
			last[e.To] = max(last[e.To], e.N)
		case e.Op == Late:
			tried++
			if e.Step == Refused {
				refused++
			}
		}
	}
	r.Figures = fmt.Sprintf("%d effects; former owners tried %d times, %d refused", r.Ops, tried, refused)
	return r
}
