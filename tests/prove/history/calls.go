package history

import (
	"fmt"
	"time"
)

// operation is what a history says about one id.
type operation struct {
	invoke  Event
	invoked bool
	ends    []Event
	ran     []Event
}

// operations collects the events of one Op by their ids, and gives the ids in the order in
// which they were first seen.
func operations(all []Event, op Op) (map[string]*operation, []string) {
	ops, order := map[string]*operation{}, []string{}
	for _, e := range all {
		if e.Op != op {
			continue
		}
		o := ops[e.ID]
		if o == nil {
			o = &operation{}
			ops[e.ID] = o
			order = append(order, e.ID)
		}
		switch e.Step {
		case Invoke:
			if !o.invoked {
				o.invoke, o.invoked = e, true
			}
		case OK, Refused, Unknown:
			o.ends = append(o.ends, e)
		case Ran:
			o.ran = append(o.ran, e)
		}
	}
	return ops, order
}

// callSlack is how much later than its deadline a call may end: the promise is one second.
const callSlack = time.Second

// Calls checks that each call ended once, and by its deadline; that none ran twice, or
// without being asked for; that an answer is one of a run, and that what was refused did
// not run. Their callers must have lived to the end.
func Calls(all []Event) Result {
	ops, order := operations(all, Call)
	var r Result
	unknown, refused := 0, 0
	for _, id := range order {
		o := ops[id]
		r.Ops++
		switch {
		case !o.invoked:
			r.breach("call %s ran in %s and nobody made it", id, o.ran[0].By)
			continue
		case len(o.ends) != 1:
			r.breach("call %s to %s ended %d times", id, o.invoke.To, len(o.ends))
			continue
		case len(o.ran) > 1:
			r.breach("call %s ran %d times: in %s and in %s", id, len(o.ran), o.ran[0].By, o.ran[1].By)
		}
		end := o.ends[0]
		if late := time.Duration(end.At - o.invoke.Due); late > callSlack {
			r.breach("call %s to %s ended %v after its deadline (%s %s)", id, o.invoke.To, late, end.Step, end.Err)
		}
		switch {
		case end.Step == OK && len(o.ran) == 0:
			r.breach("call %s has an answer of %s and never ran", id, o.invoke.To)
		case end.Step == Refused && len(o.ran) > 0:
			r.breach("call %s was refused (%s) and ran in %s", id, end.Err, o.ran[0].By)
		case end.Step == Unknown:
			unknown++
		case end.Step == Refused:
			refused++
		}
	}
	r.Figures = fmt.Sprintf("%d ended in an answer, %d refused, %d unknown", r.Ops-unknown-refused, refused, unknown)
	return r
}
