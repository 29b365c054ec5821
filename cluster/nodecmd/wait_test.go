package nodecmd

import (
	"strings"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

func TestWait(t *testing.T) {
	t.Run("wrong words", func(t *testing.T) {
		for text, want := range map[string]string{"redy": `no condition "redy"`, "members=none": "a number from 1", "members=0": "a number", "lag<soon": "a duration", "ready,": `no condition ""`} {
			if s := loopmesh("wait", "--for", text); s.code != exitUsage || !strings.Contains(s.errs, want) {
				t.Errorf("%s: %+v", text, s)
			}
		}
	})
	t.Run("nodes that are not there yet are waited for", func(t *testing.T) {
		t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
		s := loopmesh("wait", "--for", "members=1", "--timeout", "300ms")
		if s.code != exitTimedOut || !strings.Contains(s.errs, "not within 300ms") {
			t.Errorf("%+v", s)
		}
	})
	village(t)
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"wait", exitOK, ""},
		{"wait --for healthy,members=3,lag<10s -o name", exitOK, "healthy,members=3,lag<10s\n"},
		{"wait --for ready -o json", exitOK, `"kind": "Waited"`},
		{"wait --for ready,members=4 --timeout 4s", exitTimedOut, "members=4: 3 of 4 nodes are ready"},
		{"wait --for lag<1ns --timeout 4s", exitTimedOut, "late"},
		{"wait --node n9", exitTimedOut, "no node"},
	} {
		args := strings.Fields(c.args)
		if args[len(args)-1] == "n9" {
			args = append(args, "--timeout", "1s")
		}
		if s := loopmesh(args...); s.code != c.code || !strings.Contains(s.out+s.errs, c.want) {
			t.Errorf("%s: %+v", c.args, s)
		}
	}
}

func TestConditions(t *testing.T) {
	node := func(state string) admin.Node { return admin.Node{ID: "n-" + state, State: state} }
	loop := func(lag time.Duration) admin.Loop {
		return admin.Loop{ID: "n1/io", State: admin.Running, Measured: &admin.Measured{LagP99US: lag.Microseconds()}}
	}
	silent := []admin.Missing{{ID: "n1/io"}}
	for _, c := range []struct {
		text string
		view view
		why  string
	}{
		{"ready", view{nodes: &admin.List[admin.Node]{Items: []admin.Node{node(admin.Ready), node(admin.Dead)}}}, "n-dead is dead"},
		{"ready", view{nodes: &admin.List[admin.Node]{Items: []admin.Node{node(admin.Ready)}, Partial: silent}}, "n1/io does not answer"},
		{"members=1", view{nodes: &admin.List[admin.Node]{Items: []admin.Node{node(admin.Ready), node(admin.Suspect)}}}, ""},
		{"lag<50ms", view{loops: &admin.List[admin.Loop]{Items: []admin.Loop{loop(time.Millisecond), loop(50 * time.Millisecond)}}}, "n1/io runs 50ms late"},
		{"lag<50ms", view{loops: &admin.List[admin.Loop]{Items: []admin.Loop{{ID: "n1/io", State: admin.Blocked}}}}, "n1/io is blocked"},
		{"lag<50ms", view{loops: &admin.List[admin.Loop]{Partial: silent}}, "n1/io does not answer"},
		{"healthy", view{nodes: &admin.List[admin.Node]{}, tasks: &admin.List[admin.Task]{Items: []admin.Task{{ID: "n1/io/tasks/1", Name: "a", Circle: true}}}}, "n1/io/tasks/1 (a) waits for itself"},
		{"healthy", view{nodes: &admin.List[admin.Node]{}, tasks: &admin.List[admin.Task]{}}, ""},
	} {
		all, err := parseConditions(c.text)
		if err != nil {
			t.Fatal(err)
		}
		if got := all[0].why(&c.view); got != c.why {
			t.Errorf("%s: %q, want %q", c.text, got, c.why)
		}
	}
}
