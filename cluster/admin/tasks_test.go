package admin

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/loopnode"
)

func TestTasksOfAnotherNode(t *testing.T) {
	t.Run("INT-03 a node tells another one its tasks, who awaits whom, and who waits in a circle", func(t *testing.T) {
		s, other := pair(t)
		ref, err := other.NewLoop("work")
		if err != nil {
			t.Fatal(err)
		}
		loop, _ := ref.Local()
		ready := make(chan struct{})
		err = loop.Ref().CallSoonThreadsafe(func() {
			ctx := loop.Context(context.Background())
			var a, b *loopnode.Task[int]
			a = loopnode.CreateTask(ctx, "chicken", func(ctx context.Context) (int, error) { return b.Await(ctx) })
			b = loopnode.CreateTask(ctx, "egg", func(ctx context.Context) (int, error) { return a.Await(ctx) })
			sleeper := loopnode.CreateTask(ctx, "sleeper", func(ctx context.Context) (int, error) { return 0, loopnode.Sleep(ctx, time.Hour) })
			loopnode.CreateTask(ctx, "nurse", func(ctx context.Context) (int, error) {
				close(ready)
				return sleeper.Await(ctx)
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		<-ready
		at, err := s.node.Ref("n2/work")
		if err != nil {
			t.Fatal(err)
		}
		out, err := s.node.CallJSON(testCtx(t), at, "loopmesh.tasks", nil)
		if err != nil {
			t.Fatal(err)
		}
		var r TasksReport
		if err := json.Unmarshal(out, &r); err != nil {
			t.Fatal(err)
		}
		if r.Loop != "work" || r.Cut || !slices.Equal(r.Cycles, []string{"chicken", "egg"}) {
			t.Errorf("%+v", r)
		}
		for _, name := range []string{"chicken", "egg", "sleeper", "nurse"} {
			if !slices.Contains(r.Tasks, name) {
				t.Errorf("%s is missing in %v", name, r.Tasks)
			}
		}
		_, below, found := strings.Cut(r.Text, "<Task sleeper")
		if !found || !strings.Contains(below, "Awaited by") || !strings.Contains(below, "<Task nurse") || !strings.Contains(r.Text, "waits for itself") {
			t.Error(r.Text)
		}
	})
}
