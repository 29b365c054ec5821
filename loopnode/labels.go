package loopnode

import (
	"context"
	"runtime/pprof"
)

// Labels that Config.ProfileLabels puts on goroutines.
const (
	labelLoop = "loop"
	labelTask = "task"
)

// labelled runs body with the goroutine named after the task; goroutines that
// body starts inherit it.
func (t *task) labelled(body func() error) error {
	pprof.SetGoroutineLabels(pprof.WithLabels(t.ctx.parent, pprof.Labels(labelLoop, t.loop.name, labelTask, t.label())))
	defer pprof.SetGoroutineLabels(context.Background()) // the goroutine is used again
	return body()
}

// label names the goroutine of the loop's callbacks.
func (l *Loop) label() {
	if l.labels {
		pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels(labelLoop, l.name)))
	}
}
