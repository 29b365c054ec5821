package nodecmd

import (
	"context"
	"strings"
	"testing"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/admin"
)

// chain calls demo.add on the loop of another node, twice, and fails where it is told to.
var chain = cluster.Func("test.chain", func(ctx context.Context, on string) (int, error) {
	node, _ := cluster.NodeOf(ctx)
	ref, err := node.Ref(on)
	if err != nil {
		return 0, err
	}
	for range 2 {
		if _, err := node.CallJSON(ctx, ref, "demo.add", []byte("[1,2]")); err != nil {
			return 0, err
		}
	}
	return 6, nil
})

func TestTrace(t *testing.T) {
	village(t)
	_ = chain
	t.Run("one call, with every step over three nodes", func(t *testing.T) {
		got := decoded[admin.Trace](t, loopmesh("trace", "call", "test.chain", `"n3/io-0"`, "--on", "n2/io-0", "-o", "json"))
		if string(got.Result) != "6" || got.Error != nil || len(got.Spans) != 3 || len(got.Partial) > 0 || got.Dropped > 0 {
			t.Fatalf("%+v", got)
		}
		top := got.Spans[0]
		if top.Function != "test.chain" || top.From != "n1" && top.From != "n2" && top.From != "n3" || top.To != "n2/io-0" || top.Parent != "" {
			t.Errorf("%+v", top)
		}
		for _, s := range got.Spans[1:] {
			if s.Function != "demo.add" || s.From != "n2" || s.To != "n3/io-0" || s.Parent != top.ID || s.TookUS > *top.RunUS {
				t.Errorf("%+v", s)
			}
		}
		for _, s := range got.Spans {
			if s.NetworkUS == nil || s.QueueUS == nil || s.RunUS == nil || s.Open || s.Error != "" || *s.NetworkUS+*s.QueueUS+*s.RunUS > s.TookUS+3 || s.AfterUS < 0 {
				t.Errorf("%+v", s)
			}
		}
	})
	t.Run("as a tree, with the result", func(t *testing.T) {
		s := loopmesh("trace", "call", "test.chain", `"n3/io-0"`, "--on", "n2/io-0")
		for _, want := range []string{"CALL ", "NETWORK", "QUEUE", "test.chain ", "├─ demo.add", "└─ demo.add", "n3/io-0", "result: 6\n"} {
			if s.code != exitOK || !strings.Contains(s.out, want) {
				t.Errorf("%q is not in %+v", want, s)
			}
		}
	})
	t.Run("what fails is in the tree, and decides the exit code", func(t *testing.T) {
		for args, code := range map[string]int{`test.panic null`: exitFailed, `demo.add "x"`: exitUsage, `test.chain "n9/io-0"`: exitFailed, `demo.none 1`: exitNotFound} {
			name, arg, _ := strings.Cut(args, " ")
			s := loopmesh("trace", "call", name, arg, "--on", "n2/io-0")
			if s.code != code || !strings.Contains(s.out, name) || !strings.Contains(s.errs, "LM") {
				t.Errorf("%s: %+v", args, s)
			}
		}
	})
	t.Run("the calls that others make", func(t *testing.T) {
		done := make(chan said, 1)
		go func() {
			done <- loopmesh("trace", "watch", "test.chain", "--for", "1500ms", "-o", "json", "--node", "n3")
		}()
		var s said
		for calling := true; calling; {
			select {
			case s = <-done:
				calling = false
			default:
				if s := loopmesh("func", "call", "test.chain", `"n3/io-0"`, "--on", "n1/io-0"); s.code != exitOK {
					t.Errorf("%+v", s)
				}
			}
		}
		got := decoded[admin.Trace](t, s)
		tops, adds := map[string]bool{}, 0
		for _, s := range got.Spans {
			if s.Function == "test.chain" {
				tops[s.ID] = true
			}
		}
		for _, s := range got.Spans {
			if s.Function == "demo.add" && tops[s.Parent] {
				adds++
			}
		}
		if len(tops) == 0 || adds == 0 || got.Result != nil {
			t.Errorf("%d calls, %d below them: %+v", len(tops), adds, got)
		}
	})
	t.Run("nobody calls", func(t *testing.T) {
		if s := loopmesh("trace", "watch", "demo.add", "--for", "1ms"); s.code != exitOK || !strings.Contains(s.errs, "nobody called it") {
			t.Errorf("%+v", s)
		}
		if s := loopmesh("events", "--kind", "LM3183", "-o", "name"); s.out == "" {
			t.Errorf("%+v", s)
		}
	})
	t.Run("what cannot be traced", func(t *testing.T) {
		for args, code := range map[string]int{
			"call demo.add": exitUsage, "call demo.add [1,2] --on io-0": exitUsage, "watch demo.add --for 0s": exitUsage, "watch demo.add --for 2m": exitUsage,
			"watch loopmesh.node": exitUsage, "call demo.add [1": exitUsage, "call demo.add [1,2]": exitUsage, "show": exitUsage, "watch x --timeout 0s": exitUsage,
		} {
			if s := loopmesh(append([]string{"trace"}, strings.Fields(args)...)...); s.code != code || s.out != "" || s.errs == "" {
				t.Errorf("%s: %+v", args, s)
			}
		}
	})
}
