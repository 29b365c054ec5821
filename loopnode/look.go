package loopnode

import (
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/loopmesh/loopmesh/internal/loopaccess"
)

// What the admin API sees of a loop; see loopaccess.Loop for what each method promises.

// Load is described at loopaccess.Loop, as are the methods below.
func (a *access) Load() loopaccess.Load {
	l := a.loop()
	l.inbox.Drain(l.admit)
	return loopaccess.Load{Ready: l.run.left + l.core.Ready.Len(), Timers: l.core.Timers.Len(), Watched: l.watching, Tasks: l.tasks.count}
}

func (a *access) Beat() (n uint64, busy bool) {
	n = a.beat.count.Load()
	return n, n&1 == 1
}

func (a *access) StuckAt() (frame, stack string) { return a.loop().stuckAt() }

func (a *access) Measure(m *loopaccess.Meter) { a.meter = m }

func (a *access) CancelTask(id uint64, message string) (name string, ok bool) {
	for t := a.tasks.head; t != nil; t = t.next {
		if t.id == id {
			name = t.label()
			t.fut.Cancel(message)
			return name, true
		}
	}
	return "", false
}

func (a *access) TaskInfos(most, frames int) []loopaccess.TaskInfo {
	l := a.loop()
	l.inbox.Drain(l.admit)
	me, now, rings := l.current.Load(), time.Now(), circles{left: circleSteps}
	out := make([]loopaccess.TaskInfo, 0, min(most, l.tasks.count))
	for t := l.tasks.head; t != nil && len(out) < most; t = t.next {
		if t == me {
			continue
		}
		info := loopaccess.TaskInfo{ID: t.id, Name: t.label(), Parent: t.by, Circle: rings.through(t)}
		for _, by := range t.waiters() {
			if len(info.AwaitedBy) == loopaccess.WaitersShown {
				break
			}
			info.AwaitedBy = append(info.AwaitedBy, by.id)
		}
		t.lookAt(&info, frames, now)
		out = append(out, info)
	}
	return out
}

// waiters are the tasks of t's loop that wait for it.
func (t *task) waiters() (tasks []*task) {
	for _, by := range t.fut.awaitedBy() {
		if by.owner.loop == t.loop {
			tasks = append(tasks, by.owner)
		}
	}
	return tasks
}

// lookAt tells what the task does.
func (t *task) lookAt(info *loopaccess.TaskInfo, frames int, now time.Time) {
	switch {
	case t.cancelling > 0:
		info.State = "cancelling"
	case !t.started || t.scheduled:
		info.State = "ready"
	case t.inner:
		info.State = "running"
	default:
		info.State = "waiting"
	}
	if t.started && !t.scheduled && !t.inner {
		if at, ok := t.loop.beat.ages.since(t.parked); ok {
			info.For, info.Known = now.Sub(at), true
		}
	}
	if frames <= 0 {
		return
	}
	pcs := t.where()
	if info.State == "waiting" || info.State == "cancelling" && !t.scheduled {
		info.Waits = waitsIn(pcs)
	}
	all := outward(pcs)
	for i := len(all) - 1; i >= 0 && len(info.Stack) < frames; i-- {
		info.Stack = append(info.Stack, fmt.Sprintf("%s (%s:%d)", all[i].Function, all[i].File, all[i].Line))
	}
}

const modulePrefix = "github.com/loopmesh/loopmesh/"

// libraryPackages are the packages whose functions a task waits in.
var libraryPackages = []string{"loopnode.", "loopnode/", "transportactors.", "transportactors/", "cluster.", "cluster/", "actors.", "internal/"}

// waitsIn is the function of this module that the user's code called and that waits:
// the outermost one before the first frame of somebody else.
func waitsIn(pcs []uintptr) (name string) {
	for it := runtime.CallersFrames(pcs); ; {
		f, more := it.Next()
		rest, ours := strings.CutPrefix(f.Function, modulePrefix)
		ours = ours && !strings.HasSuffix(f.File, "_test.go") && hasAnyPrefix(rest, libraryPackages)
		switch {
		case ours && strings.HasSuffix(f.Function, ").exec"):
			return name
		case ours:
			name = strings.ReplaceAll(rest, "[...]", "")
		case !coroutineFrame(f.Function):
			return name
		}
		if !more {
			return name
		}
	}
}

func hasAnyPrefix(s string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

// named gives a task its id and forgets the task object of its maker, which must not
// live as long as what it made.
func (l *taskList) named(t *task) {
	l.ids++
	t.id = l.ids
	if m := t.maker; m != nil && m.loop == t.loop {
		t.by = m.id
	}
	t.maker = nil
}

// measureBatch is runBatch with a look at the clock before and behind it.
func (l *Loop) measureBatch() {
	m, n := l.meter, l.run.left
	from := l.backend.Now()
	l.runBatch()
	now := l.backend.Now()
	took := now.Sub(from)
	m.Turns.Add(1)
	m.Callbacks.Add(uint64(n))
	m.Busy.Add(int64(took))
	m.Batches.Add(took)
	if int64(took) > m.Longest.Load() {
		m.Longest.Store(int64(took))
	}
	if time.Duration(now) > m.Until && l.meter == m {
		l.meter = nil
	}
}
