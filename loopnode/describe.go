package loopnode

import (
	"fmt"
	"runtime"
	"strings"
)

// String is the task on one line: name, state, function and where it is
// defined, what it waits for, and who is told when it is done. Loop goroutine.
func (k *Task[T]) String() string { return k.t.String() }

// String is the future on one line: state and who is told when it is done. Loop
// goroutine.
func (f *Future[T]) String() string { return f.future.describe() }

func (t *task) String() string {
	s := fmt.Sprintf("<Task %s %s", t.label(), t.state())
	if t.body != nil {
		if fn := runtime.FuncForPC(t.body.entry()); fn != nil {
			file, line := fn.FileLine(fn.Entry())
			s += fmt.Sprintf(" func=%s defined at %s:%d", fn.Name(), file, line)
		}
	}
	if t.waiting != nil && t.fut.state == pending {
		s += " wait_for=" + t.waiting.describe()
	}
	return s + t.fut.callbacks() + ">"
}

func (t *task) state() string {
	if t.fut.state == pending && t.cancelling > 0 {
		return "cancelling"
	}
	return t.fut.state.String()
}

func (s futureState) String() string {
	return [...]string{"pending", "finished", "failed", "cancelled"}[s]
}

func (f *future) describe() string {
	if f.owner != nil {
		return fmt.Sprintf("<Task %s %s>", f.owner.label(), f.owner.state())
	}
	return "<Future " + f.state.String() + f.callbacks() + ">"
}

func (c doneCall) name() string {
	if f := runtime.FuncForPC(c.at); f != nil {
		return f.Name()
	}
	return funcName(c.fn)
}

// callbacks names who is told when f is done.
func (f *future) callbacks() string {
	var names []string
	for _, c := range f.calls.all() {
		if c.fn == nil {
			names = append(names, "Task "+c.by.owner.label())
		} else {
			names = append(names, c.name())
		}
	}
	if len(names) == 0 {
		return ""
	}
	return " cb=[" + strings.Join(names, ", ") + "]"
}
