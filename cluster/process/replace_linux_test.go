package process_test

import (
	"errors"
	"testing"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/process"
)

// What is offered is replaced as a whole; what runs meanwhile stays in the hands of its owner,
// and in the count of its name.
func TestProfilesAreReplaced(t *testing.T) {
	c, n1 := pair(t)
	n2, ctx := c.Node("n2"), within(t)
	old := begin(t, ctx, n1, "cat")
	if err := process.Replace(n2, process.Profile{Name: "cat", Argv: []string{"/bin/cat", "/dev/null"}, Children: 1}, sh("fresh", "echo $1")); err != nil {
		t.Fatal(err)
	}
	for profile, want := range map[string]error{"exit": process.ErrUnknownProfile, "cat": process.ErrTooMany} {
		if _, err := process.Start(ctx, n1, process.Command{Node: "n2", Profile: profile, Words: nil}); !errors.Is(err, want) {
			t.Errorf("%s: %v", profile, err)
		}
	}
	must(t, old.Write(ctx, []byte("still here\n")))
	if got := line(t, ctx, old.Stdout()); got != "still here" {
		t.Errorf("%q", got)
	}
	if err := process.Replace(n2); err != nil { // nothing is offered, and the owner still has what it started
		t.Fatal(err)
	}
	old.CloseStdin()
	if exit, err := old.Wait(ctx); err != nil || exit.Code != 0 {
		t.Errorf("%v, %v", exit, err)
	}
	if _, err := process.Start(ctx, n1, process.Command{Node: "n2", Profile: "fresh"}); !errors.Is(err, process.ErrUnknownProfile) {
		t.Error(err)
	}
	must(t, process.Replace(n2, sh("fresh", "echo $1")))
	if got := text(t, ctx, begin(t, ctx, n1, "fresh", "x").Stdout()); got != "x\n" {
		t.Errorf("%q", got)
	}
}

// A mistake leaves what was offered.
func TestReplacingByNonsenseChangesNothing(t *testing.T) {
	c, n1 := pair(t)
	for name, list := range map[string][]process.Profile{"twice": {sh("a", "true"), sh("a", "true")}, "relative": {sh("a", "true"), {Name: "b", Argv: []string{"cat"}}}} {
		if err := process.Replace(c.Node("n2"), list...); !errors.Is(err, cluster.ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := process.Replace(nil); !errors.Is(err, cluster.ErrConfig) {
		t.Error(err)
	}
	if got := text(t, within(t), begin(t, within(t), n1, "both", "1", "0").Stdout()); got != "out-1\n" {
		t.Errorf("%q", got)
	}
}
