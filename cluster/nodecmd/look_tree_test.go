package nodecmd

import (
	"fmt"
	"strings"
	"testing"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// crowd is a cluster that has one of everything: a loop that is blocked, one that is
// silent, a node that died, tasks that wait for themselves, and names that are not nice.
func crowd() *landscape {
	us := int64(3_000_000)
	task := func(id, name, parent, waits string, circle bool) admin.Task {
		return admin.Task{ID: "n1/io-0/tasks/" + id, Node: "n1", Loop: "io-0", Name: name, State: "waiting", Waits: waits, WaitsUS: &us, Parent: parent, AwaitedBy: []string{}, Circle: circle, Stack: []string{"main.run (/src/run.go:14)"}}
	}
	l := &landscape{
		time: noon,
		nodes: []admin.Node{
			nodes.Items[0], nodes.Items[1],
			{ID: "n3", State: admin.Dead, LastSeen: noon.Add(-90e9), Why: "NATS found nobody"},
		},
		loops: []admin.Loop{
			{ID: "n1/io-0", Node: "n1", Name: "io-0", State: admin.Running, Tasks: 5, Conns: 3, Queue: 2, Servers: []string{}},
			{ID: "n1/io-1", Node: "n1", Name: "io-1", State: admin.Blocked, BlockedMS: 2100, Frame: "main.report", Servers: []string{}},
		},
		tasks: []admin.Task{
			task("1", "serve", "", "loopnode.Sleep", false), task("2", "left", "n1/io-0/tasks/1", "Task.Await", true), task("3", "right", "n1/io-0/tasks/1", "Task.Await", true),
			task("4", "orphan", "n1/io-0/tasks/99", "tasksync.Lock", false), task("5", "own maker", "n1/io-0/tasks/5", "loopnode.Recv", false),
		},
		servers: []admin.Listener{{ID: "n1/io-0/servers/1", Node: "n1", Loop: "io-0", Addresses: []string{"127.0.0.1:7000", "[::1]:7000"}, Failed: 2}},
		procs:   []admin.Child{{ID: "n1/io-0/procs/4711", Node: "n1", Loop: "io-0", PID: 4711, Args: []string{"sleep", "60"}}},
		actors:  []admin.Actor{{ID: "n1/clock", Node: "n1", Loop: "io-0", Queued: 7}},
		partial: []admin.Missing{nodes.Partial[0], {ID: "n1/io-1", Error: admin.Error{Message: "deadline passed"}}, {ID: "n1/io-2", Error: admin.Error{Message: "deadline passed"}}},
	}
	for i, p := range []string{"*chat.client", "*chat.client", "*http.conn"} {
		l.conns = append(l.conns, admin.Conn{ID: fmt.Sprintf("n1/io-0/transports/%d", i+1), Node: "n1", Loop: "io-0", Peer: fmt.Sprintf("127.0.0.1:5021%d", i), Protocol: p, WriteBuffer: i * 100})
	}
	return l
}

func TestATreeOfManyKinds(t *testing.T) {
	kinds := tally{}
	for _, w := range []string{"b", "a", "a", "c", "d", "", "d", "d"} {
		kinds.count(w)
	}
	if got := kinds.text(); got != "3 d, 2 a, 1 -, and 2 more kinds" {
		t.Error(got)
	}
	for n, want := range map[int]string{0: "0 child processes", 1: "1 child process", 2: "2 child processes"} {
		if got := plural(n, "child process"); got != want {
			t.Error(got)
		}
	}
}

// A task of a node that lies about who made whom ends the tree, not the command.
func TestMakersInACircleEnd(t *testing.T) {
	l := crowd()
	l.tasks = []admin.Task{
		{ID: "n1/io-0/tasks/1", Node: "n1", Loop: "io-0", Parent: "n1/io-0/tasks/2"}, {ID: "n1/io-0/tasks/2", Node: "n1", Loop: "io-0", Parent: "n1/io-0/tasks/1"},
		{ID: "n1/io-0/tasks/3", Node: "n1", Loop: "io-0"}, {ID: "n1/io-0/tasks/3", Node: "n1", Loop: "io-0"},
	}
	cmd, out := printing()
	if err := showTree(cmd, &output{format: formatTable}, l.tree(depthThings)); err != nil || !strings.Contains(out.String(), "4 tasks") || strings.Count(out.String(), "tasks/3") != 1 {
		t.Errorf("%v %s", err, out)
	}
}

func TestTree(t *testing.T) {
	rooms := village(t)
	dial(t, rooms[1])
	if s := loopmesh("func", "call", "test.evil", "null", "--on", "n2/io-0"); s.code != exitOK {
		t.Fatalf("%+v", s)
	}
	t.Run("every node, loop and thing has its line", func(t *testing.T) {
		s := loopmesh("tree", "--depth", "4")
		if s.code != exitOK || !strings.HasPrefix(s.out, "3 nodes\n├─ n1  ready") || steers(s.out) {
			t.Fatalf("%+v", s)
		}
		for _, list := range [][]string{{"ls"}, {"loop", "ls"}, {"server", "ls"}, {"conn", "ls"}} {
			ids := strings.Fields(loopmesh(append(list, "-o", "name")...).out)
			names := loopmesh("tree", "--depth", "4", "-o", "name").out
			for _, id := range ids {
				if !strings.Contains(names, id+"\n") {
					t.Errorf("%s is in %q and not in the tree", id, list)
				}
			}
			if len(ids) == 0 {
				t.Errorf("%q lists nothing", list)
			}
		}
		if !strings.Contains(s.out, "?[2J?evil?") || !strings.Contains(s.out, "in loopnode.Sleep") {
			t.Errorf("the task is not there: %s", s.out)
		}
	})
	t.Run("one node, as deep as is asked for", func(t *testing.T) {
		doc := decoded[tree](t, loopmesh("tree", "n2", "-o", "json"))
		if doc.Kind != "Tree" || len(doc.Root.Below) != 1 || doc.Root.Below[0].ID != "n2" || len(doc.Root.Below[0].Below) != 3 {
			t.Fatalf("%+v", doc)
		}
		if doc := decoded[tree](t, loopmesh("tree", "--depth", "1", "-o", "json")); len(doc.Root.Below) != 3 || len(doc.Root.Below[0].Below) != 0 {
			t.Errorf("%+v", doc)
		}
		if s := loopmesh("tree", "n1", "--depth", "2"); s.code != exitOK || !strings.Contains(s.out, "io-0  running  0 tasks  0 connections") {
			t.Errorf("%+v", s)
		}
	})
	t.Run("what cannot be", func(t *testing.T) {
		for args, want := range map[string]int{"tree --depth 0": exitUsage, "tree --depth 5": exitUsage, "tree n9": exitNotFound, "tree n1 n2": exitUsage, "tree -o xml": exitUsage} {
			if s := loopmesh(strings.Fields(args)...); s.code != want || s.out != "" || s.errs == "" {
				t.Errorf("%s: %+v", args, s)
			}
		}
	})
	t.Run("a loop that does not answer has its line, and the exit code says so", func(t *testing.T) {
		done, before := make(chan said, 1), blocks.Load()
		go func() { done <- loopmesh("func", "call", "test.block", "null", "--on", "n3/io-0", "--timeout", "2m") }()
		defer func() { release <- struct{}{}; <-done }()
		soon(t, "the loop stands still", func() bool { return blocks.Load() > before })
		s := loopmesh("tree", "--timeout", "6s")
		if s.code != exitUnreachable || !strings.Contains(s.out, "io-0  ") || !strings.Contains(s.errs, "n3/io-0") {
			t.Errorf("%+v", s)
		}
		if s := loopmesh("tree", "--timeout", "6s", "--allow-partial"); s.code != exitOK {
			t.Errorf("%+v", s)
		}
		if s := loopmesh("tree", "n1", "--timeout", "6s"); s.code != exitOK {
			t.Errorf("the silence of another node decides: %+v", s)
		}
	})
}
