package loopnode

import (
	"fmt"
	"io"
	"runtime"
	"strings"
)

// CallGraph is a future or task, where it is, and who waits for it, all the way
// up. asyncio.FutureCallGraph.
type CallGraph struct {
	// What is the future or task on one line.
	What string
	// Name is the task's name, "" for a plain future.
	Name string
	// Stack is where a task is, the oldest call first; see Task.Stack.
	Stack []runtime.Frame
	// AwaitedBy are the tasks that wait for it: directly, or through Gather,
	// Shield, Wait or as members of a TaskGroup. In the order they came.
	AwaitedBy []*CallGraph
	// Cycle: this task is below itself already, so it waits for itself and will
	// wait for ever. AwaitedBy is empty then.
	Cycle bool
}

// CallGraph tells who waits for this future or task. A limit above 0 keeps that
// many frames per task, the newest. Loop goroutine. asyncio.capture_call_graph.
func (f *future) CallGraph(limit int) *CallGraph { return f.graph(limit, map[*future]bool{}) }

// CallGraph tells who waits for this task; see Task.CallGraph.
func (r TaskRef) CallGraph(limit int) *CallGraph { return r.t.fut.CallGraph(limit) }

// graph: above are the futures on the way here.
func (f *future) graph(limit int, above map[*future]bool) *CallGraph {
	g := &CallGraph{What: f.describe(), Cycle: above[f]}
	if t := f.owner; t != nil {
		g.What, g.Name = t.String(), t.label()
		if !g.Cycle {
			g.Stack = t.stack(limit)
		}
	}
	if g.Cycle {
		return g
	}
	above[f] = true
	for _, by := range f.awaitedBy() {
		g.AwaitedBy = append(g.AwaitedBy, by.graph(limit, above))
	}
	delete(above, f)
	return g
}

// awaitedBy are the tasks that wait for f. A future in between, such as that of
// a Gather, stands for those that wait for it.
func (f *future) awaitedBy() (tasks []*future) {
	for _, c := range f.calls.all() {
		switch {
		case c.by == nil:
		case c.by.owner != nil:
			tasks = append(tasks, c.by)
		default:
			tasks = append(tasks, c.by.awaitedBy()...)
		}
	}
	return tasks
}

// String is the graph for people, one line for each frame and task.
func (g *CallGraph) String() string {
	var b strings.Builder
	g.write(&b, "")
	return b.String()
}

func (g *CallGraph) write(b *strings.Builder, indent string) {
	fmt.Fprintf(b, "%s* %s\n", indent, g.What)
	if g.Cycle {
		fmt.Fprintf(b, "%s  ! waits for itself\n", indent)
		return
	}
	if len(g.Stack) > 0 {
		fmt.Fprintf(b, "%s  + Call stack (most recent call first):\n", indent)
	}
	for i := len(g.Stack) - 1; i >= 0; i-- {
		f := g.Stack[i]
		fmt.Fprintf(b, "%s  |   %s:%d, in %s\n", indent, f.File, f.Line, f.Function)
	}
	if len(g.AwaitedBy) > 0 {
		fmt.Fprintf(b, "%s  + Awaited by:\n", indent)
	}
	for _, by := range g.AwaitedBy {
		by.write(b, indent+"     ")
	}
}

// PrintTasks writes every task of l that is not done with its stack and who
// waits for it. Its error is w's. Loop goroutine. asyncio: python -m asyncio ps.
func PrintTasks(w io.Writer, l *Loop) error {
	var b strings.Builder
	all := AllTasks(l)
	fmt.Fprintf(&b, "%d tasks of loop %s\n", len(all), l.name)
	for _, t := range all {
		t.CallGraph(0).write(&b, "")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
