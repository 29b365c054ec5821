package admin

import (
	"context"
	"slices"
	"strings"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/loopnode"
)

// maxTasksText bounds the text in the answer, which has to fit into a message. The
// loop writes the whole text and then cuts it: the bound is on memory that travels,
// not on the time that the loop spends.
const maxTasksText = 256 << 10

// TasksReport is what a loop tells of its tasks; the function loopmesh.tasks,
// called on the loop. asyncio: python -m asyncio ps and pstree.
type TasksReport struct {
	Loop  string   `json:"loop"`
	Tasks []string `json:"tasks"` // their names, oldest first; not the one that asks
	// Cycles are the tasks that wait for themselves and will wait for ever.
	Cycles []string `json:"cycles"`
	// Text is the tasks with their stacks and who waits for whom.
	Text string `json:"text"`
	// Cut says that Text had more than fits.
	Cut bool `json:"cut"`
}

var _ = cluster.Func(internalPrefix+"tasks", func(ctx context.Context, _ struct{}) (TasksReport, error) {
	l, err := loopnode.Running(ctx)
	if err != nil {
		return TasksReport{}, err
	}
	r := TasksReport{Loop: l.Name(), Tasks: []string{}, Cycles: []string{}}
	me, _ := loopnode.CurrentTask(ctx)
	for _, t := range loopnode.AllTasks(l) {
		if t == me {
			continue
		}
		r.Tasks = append(r.Tasks, t.Name())
		if hasCycle(t.CallGraph(1)) {
			r.Cycles = append(r.Cycles, t.Name())
		}
	}
	var text strings.Builder
	err = loopnode.PrintTasks(&text, l)
	r.Text = text.String()
	if r.Cut = len(r.Text) > maxTasksText; r.Cut {
		r.Text = strings.ToValidUTF8(r.Text[:maxTasksText], "")
	}
	return r, err
})

// hasCycle reports whether the chain of waiting tasks comes back to a task that is in
// it.
func hasCycle(g *loopnode.CallGraph) bool {
	return g.Cycle || slices.ContainsFunc(g.AwaitedBy, hasCycle)
}
