package loopnode

// beginNow runs t's first step inside CreateTask, on the loop's goroutine: in a
// callback, or inside the step of another task, which waits for it meanwhile.
func (t *task) beginNow() {
	l := t.loop
	l.tasks.add(t)
	t.eager, t.outer = true, l.current.Load()
	if outer := t.outer; outer != nil {
		outer.inner = true
		defer func() { outer.inner = false }()
	}
	t.step()
}
