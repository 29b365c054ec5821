package loopnode

import (
	"sync"
	"time"
)

// ages tells how long a task has waited, without a look at the clock when it begins to
// wait. The task keeps the number that the watchdog's count had then (task.parked); the
// watchdog's goroutine, which looks at count anyway, notes here when it had which
// value. It looks every lookEvery or more often while the loop works, and at the first
// batch after a sleep. So the first note behind a task's number is from soon after the
// wait began.
//
// What is kept gets coarser with age: all notes at first, then one a second, one in 30
// seconds, one in a quarter of an hour; 128 of each. So the error grows with the age
// that is told, and the memory does not.
//
// Invariant: each level is in the order of turn and of time. Guarded by mu.
type ages struct {
	mu     sync.Mutex
	levels [len(ageSteps)][]ageNote
}

type ageNote struct {
	turn uint64
	at   time.Time
}

var ageSteps = [...]time.Duration{0, time.Second, 30 * time.Second, 15 * time.Minute}

const agesKept = 128

// note remembers that count has the value turn. Watchdog's goroutine.
func (a *ages) note(turn uint64, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range a.levels {
		have := a.levels[i]
		if n := len(have); n > 0 && (have[n-1].turn == turn || at.Sub(have[n-1].at) < ageSteps[i]) {
			continue
		}
		if len(have) == agesKept {
			have = have[:copy(have, have[agesKept/4:])]
		}
		a.levels[i] = append(have, ageNote{turn, at})
	}
}

// since is when count had passed turn, as early as is known; false: it has not been
// noted since.
func (a *ages) since(turn uint64) (at time.Time, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, level := range a.levels {
		for _, n := range level {
			if n.turn > turn {
				if !ok || n.at.Before(at) {
					at, ok = n.at, true
				}
				break
			}
		}
	}
	return at, ok
}
