package loopnode

import (
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/loopmesh/loopmesh/internal/loopaccess"
)

// watchdog looks at a running loop from outside and names the frame of a
// callback that does not return, while it is stuck: the loop itself cannot.
type watchdog struct {
	limit time.Duration
	turn  uint64        // loop goroutine: what count shows
	count atomic.Uint64 // odd while batches run, another number for each
	quit  chan struct{}
	over  chan struct{}
	task  *task // whose step the running callback is; loop goroutine, debug mode
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
}

func (e *StuckError) Error() string {
	return fmt.Sprintf("%v for %s: %s", ErrStuck, e.For.Round(time.Millisecond), e.Frame)
}

// Unwrap makes it ErrStuck.
func (e *StuckError) Unwrap() error { return ErrStuck }

// enter tells that another batch runs.
func (w *watchdog) enter() {
	if w.limit > 0 {
		w.turn = (w.turn + 2) | 1
		w.count.Store(w.turn)
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
	w.quit, w.over = make(chan struct{}), make(chan struct{})
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

// watch reports each stuck batch: one that looks, half the limit apart, found
// unchanged for at least the limit.
func (w *watchdog) watch(l *Loop) {
	defer close(w.over)
	tick := time.NewTicker(max(w.limit/2, time.Millisecond))
	defer tick.Stop()
	var last uint64
	var since time.Time
	next := w.limit // when to speak again
	for {
		select {
		case <-w.quit:
			return
		case now := <-tick.C:
			n := w.count.Load()
			if n != last || n&1 == 0 {
				if next > w.limit && w.supervisor != nil {
					w.supervisor.Moves()
				}
				last, since, next = n, now, w.limit
				continue
			}
			if took := now.Sub(since); took >= next {
				w.stuck(l, took, next == w.limit)
				next *= 2
			}
		}
	}
}

// stuck names the callback, in the log once.
func (w *watchdog) stuck(l *Loop, took time.Duration, first bool) {
	e := &StuckError{For: took}
	e.Frame, e.Stack = l.stuckAt()
	if first {
		l.log.Warn(fmt.Sprintf("Callback has not returned for %s: %s", took.Round(time.Millisecond), e.Frame),
			"loop", l.name, "stack", e.Stack)
	}
	if w.supervisor != nil {
		w.supervisor.Stuck(e)
	}
}

// stuckAt finds the loop's goroutine, or that of the task that runs, among all
// stacks. Any goroutine.
func (l *Loop) stuckAt() (frame, stack string) {
	id := l.run.gid.Load()
	if t := l.current.Load(); t != nil {
		id = t.gid.Load()
	}
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	prefix := fmt.Sprintf("goroutine %d ", id)
	for block := range strings.SplitSeq(string(buf), "\n\n") {
		if strings.HasPrefix(block, prefix) {
			return userFrame(block), block
		}
	}
	return "unknown", ""
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
