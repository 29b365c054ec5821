package loopnode

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/loopmesh/loopmesh/internal/loopaccess"
)

// watchdog looks at a running loop from its own goroutine and names the frame of a
// callback that does not return, while it is stuck: the loop itself cannot.
//
// The loop shows what it does in count: an odd number while callbacks run, another one
// for each batch and for each watchEvery callbacks of a long batch, and an even one while
// it sleeps. The goroutine looks at count every half limit, or every lookEvery when that
// is shorter; the same odd number for at least the limit means a callback that is stuck.
// When it finds an even number it stops its ticker and waits for wake, so that a loop
// without work causes no wake-ups at all. The batch after that wakes it: once per look
// at most, since the goroutine looks again only then.
//
// Invariant: resting is set only while the goroutine waits for wake or is about to
// look at count once more. The loop stores count before it loads resting, the
// goroutine stores resting before it loads count; so one of the two sees the other,
// and no batch runs unwatched.
type watchdog struct {
	limit   time.Duration
	turn    uint64        // loop goroutine: what count shows
	count   atomic.Uint64 // odd while batches run, another number for each
	resting atomic.Bool   // the goroutine waits for wake
	wake    chan struct{} // room for one
	quit    chan struct{}
	over    chan struct{}
	task    *task // whose step the running callback is; loop goroutine, debug mode
	ages    ages  // when count had which value
	// supervisor is told at limit, 2×limit, 4×limit … while a callback is stuck, and
	// when it has returned; nil without one. Set before the run.
	supervisor loopaccess.Supervisor
}

// StuckError is ErrStuck with where the callback is.
type StuckError struct {
	// For is how long it has not returned.
	For time.Duration
	// Frame is the innermost function that is the user's, with its place.
	Frame string
	// Stack is the whole stack.
	Stack string
	// State is what its goroutine does, in the runtime's words: "running", "chan
	// receive", "select", "sync.Mutex.Lock", "sleep" and the like.
	State string
}

func (e *StuckError) Error() string {
	return fmt.Sprintf("%v for %s: %s%s", ErrStuck, e.For.Round(time.Millisecond), e.Frame, e.advice())
}

// advice says what blocks the loop and what to use in its place.
func (e *StuckError) advice() string {
	use := ""
	switch {
	case strings.HasPrefix(e.State, "chan receive"), strings.HasPrefix(e.State, "select"):
		use = "Recv(ctx, ch) or WaitDone(ctx)"
	case strings.HasPrefix(e.State, "chan send"):
		use = "a tasksync.Queue, or send in ToThread"
	case strings.HasPrefix(e.State, "sleep"):
		use = "Sleep(ctx, d)"
	case strings.HasPrefix(e.State, "sync."), strings.HasPrefix(e.State, "semacquire"):
		use = "package tasksync, or ToThread"
	case strings.HasPrefix(e.State, "syscall"), strings.HasPrefix(e.State, "IO wait"):
		use = "ToThread or RunInExecutor"
	default:
		return ""
	}
	return fmt.Sprintf(" (%s blocks the loop with all its tasks; use %s)", e.State, use)
}

// Unwrap makes it ErrStuck.
func (e *StuckError) Unwrap() error { return ErrStuck }

// enter tells that another batch runs.
func (w *watchdog) enter() {
	if w.limit <= 0 {
		return
	}
	w.turn = (w.turn + 2) | 1
	w.count.Store(w.turn)
	if w.resting.Load() && w.resting.CompareAndSwap(true, false) {
		w.wake <- struct{}{} // does not block: resting is set by who receives
	}
}

// leave tells that the loop sleeps or has ended.
func (w *watchdog) leave() {
	if w.turn&1 == 1 {
		w.turn++
		w.count.Store(w.turn)
	}
}

func (w *watchdog) start(l *Loop) {
	if w.limit <= 0 {
		return
	}
	w.wake, w.quit, w.over = make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	w.resting.Store(false)
	// goroutine: owner: the run of the loop; ends when the run ends (stop waits).
	go w.watch(l)
}

func (w *watchdog) stop() {
	if w.quit == nil {
		return
	}
	close(w.quit)
	<-w.over
	w.quit = nil
}

// watch rests while the loop sleeps and looks at it while it works.
func (w *watchdog) watch(l *Loop) {
	defer close(w.over)
	tick := time.NewTicker(w.every())
	defer tick.Stop()
	for {
		if !w.rest() {
			return
		}
		tick.Reset(w.every())
		if !w.look(l, tick) {
			return
		}
		tick.Stop()
	}
}

// every is how often it looks: often enough to find a stuck callback and to tell how
// long a task has waited.
func (w *watchdog) every() time.Duration { return min(max(w.limit/2, time.Millisecond), lookEvery) }

const lookEvery = 250 * time.Millisecond

// rest waits for the next batch; false: the run is over.
func (w *watchdog) rest() bool {
	w.resting.Store(true)
	if w.count.Load()&1 == 1 && w.resting.CompareAndSwap(true, false) {
		return true // a batch began meanwhile and saw nobody resting
	}
	select {
	case <-w.quit:
		return false
	case <-w.wake:
		return true
	}
}

// look reports each batch that is stuck, until the loop is found asleep; false:
// the run is over.
func (w *watchdog) look(l *Loop, tick *time.Ticker) bool {
	last, since := w.count.Load(), time.Now()
	w.ages.note(last, since)
	next := w.limit // when to report again
	for {
		select {
		case <-w.quit:
			return false
		case now := <-tick.C:
			n := w.count.Load()
			w.ages.note(n, now)
			if n == last && n&1 == 1 {
				if took := now.Sub(since); took >= next {
					w.stuck(l, n, took, next == w.limit)
					next *= 2
				}
				continue
			}
			if next > w.limit && w.supervisor != nil {
				w.supervisor.Moves()
			}
			if n&1 == 0 {
				return true
			}
			last, since, next = n, now, w.limit
		}
	}
}

// stuck names the callback, in the log once.
func (w *watchdog) stuck(l *Loop, turn uint64, took time.Duration, first bool) {
	e := &StuckError{For: took}
	e.Frame, e.Stack = l.stuckAt()
	e.State = goroutineState(e.Stack)
	if first {
		l.log.Warn(fmt.Sprintf("Callback has not returned for %s: %s%s", took.Round(time.Millisecond), e.Frame, e.advice()),
			"loop", l.name, "stack", e.Stack)
	}
	if w.supervisor != nil {
		w.supervisor.Stuck(e, func() bool { return w.count.Load() == turn })
	}
}

// stuckAt finds the loop's goroutine, or that of the task that runs, among all
// stacks. Any goroutine.
func (l *Loop) stuckAt() (frame, stack string) {
	all := allStacks()
	if all == nil {
		return "a function that is not looked for among so many goroutines", ""
	}
	id, t := l.run.gid.Load(), l.current.Load()
	if t != nil {
		id = t.gid.Load()
	}
	for block := range bytes.SplitSeq(all, []byte("\n\n")) {
		if id != 0 && bytes.HasPrefix(block, fmt.Appendf(nil, "goroutine %d ", id)) || id == 0 && t.on(block) {
			return userFrame(string(block)), string(block)
		}
	}
	return "unknown", ""
}

// Room for the stacks of all goroutines: a guess for each, and the least and the
// most that is taken for one look. Why there is a most: the dump stops all
// goroutines, for about 10 µs each.
const (
	stackRoom      = 2 << 10
	fewestStacks   = 1 << 20
	mostStacks     = 256 << 20
	mostGoroutines = 100_000
)

// allStacks is a dump of all goroutines; nil: there are too many. Why with room
// that grows: a dump that does not fit is cut off, and the goroutine looked for may
// be in what is missing.
func allStacks() []byte {
	if runtime.NumGoroutine() > mostGoroutines {
		return nil
	}
	for room := max(fewestStacks, runtime.NumGoroutine()*stackRoom); ; room *= 2 {
		buf := make([]byte, min(room, mostStacks))
		if n := runtime.Stack(buf, true); n < len(buf) || len(buf) == mostStacks {
			return buf[:n]
		}
	}
}

// goroutineState is what stands in the brackets of the first line of a stack,
// without how long it has lasted: "goroutine 7 [chan receive, 2 minutes]:".
func goroutineState(stack string) string {
	_, rest, _ := strings.Cut(stack, "[")
	state, _, _ := strings.Cut(rest, "]")
	state, _, _ = strings.Cut(state, ",")
	return state
}

// userFrame is the innermost frame that is not the runtime's, with its place.
func userFrame(block string) string {
	lines := strings.Split(block, "\n")
	for i := 1; i+1 < len(lines); i += 2 {
		name := lines[i]
		if strings.HasPrefix(name, "runtime.") || strings.HasPrefix(name, "time.") || strings.HasPrefix(name, "sync.") ||
			strings.HasPrefix(name, "internal/") || strings.HasPrefix(name, "syscall.") {
			continue
		}
		if j := strings.LastIndexByte(name, '('); j > 0 {
			name = name[:j]
		}
		place, _, _ := strings.Cut(strings.TrimSpace(lines[i+1]), " ")
		return name + " at " + place
	}
	return "unknown"
}
