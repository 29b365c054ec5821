package loopnode

// beginNow runs t's first step inside CreateTask, on the loop's goroutine: in a
// callback, or inside the step of another task, which waits for it meanwhile.
func (t *task) beginNow() {
	l := t.loop
	l.tasks.add(t)
	t.w = l.takeWorker(t)
	outer := l.current.Load()
	if outer == nil {
		t.step()
		return
	}
	t.outer, outer.inner = outer, true
	t.step()
	outer.inner = false
}
