package differential

import "encoding/json"

// Minimise takes steps out of p as long as bad stays true, and returns what is left.
func Minimise(p *Program, bad func(*Program) bool) *Program {
	for smaller := true; smaller; {
		smaller = false
		for n := 0; ; n++ {
			q := without(p, n)
			if q == nil {
				break
			}
			if bad(q) {
				p, smaller = q, true
				n--
			}
		}
	}
	return p
}

// without is p without its n-th step, in depth first order; nil: it has no such step.
func without(p *Program, n int) *Program {
	text, err := json.Marshal(p)
	if err != nil {
		return nil
	}
	q := &Program{}
	if err := json.Unmarshal(text, q); err != nil {
		return nil
	}
	for i := range q.Tasks {
		if q.Tasks[i], n = cut(q.Tasks[i], n); n < 0 {
			return q
		}
	}
	for i := range q.Callbacks {
		if q.Callbacks[i], n = cut(q.Callbacks[i], n); n < 0 {
			return q
		}
	}
	return nil
}

// cut takes the n-th step out of b; n below 0 says that it is done.
func cut(b Block, n int) (Block, int) {
	for i := range b {
		if n == 0 {
			return append(b[:i:i], b[i+1:]...), -1
		}
		n--
		if b[i].Block, n = cut(b[i].Block, n); n < 0 {
			return b, n
		}
		if b[i].Other, n = cut(b[i].Other, n); n < 0 {
			return b, n
		}
	}
	return b, n
}
