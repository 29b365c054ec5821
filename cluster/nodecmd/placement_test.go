package nodecmd

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/admin"
	"github.com/loopmesh/loopmesh/cluster/names"
	"github.com/loopmesh/loopmesh/cluster/placement"
	"github.com/loopmesh/loopmesh/loopnode"
)

// TestPlacementLs shows one that runs, one that failed and one whose kind nobody serves, with
// the owner that the store has; names and errors of the program steer no terminal.
func TestPlacementLs(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	n, err := cluster.Start(ctx, cluster.Config{Name: "n1", StoreDir: t.TempDir(), Logger: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	s, err := admin.Serve(n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if s := loopmesh("placement", "ls", "-o", "name"); s.code != exitOK || s.out != "" {
		t.Errorf("nothing is wanted: %+v", s)
	}
	ref, err := n.NewLoop("work")
	if err != nil {
		t.Fatal(err)
	}
	server, err := placement.Serve(n, ref,
		placement.Kind{Name: "shard", Run: func(ctx context.Context, _ string, _ *names.Ownership) error { return loopnode.WaitDone(ctx) }},
		placement.Kind{Name: "bad", Run: func(context.Context, string, *names.Ownership) error { return errors.New("no \x1b[2Jdisk") }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	for _, err := range []error{
		placement.Want(ctx, n, "shard", "eu 1"), placement.Want(ctx, n, "bad", "x", placement.Restarts(0, time.Hour)), placement.Want(ctx, n, "nobody", "y"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	const columns = "placement,state,node,failed,error"
	want := "bad/x       failed         1  no ?[2Jdisk\nnobody/y    waiting        0\nshard/eu%201  running  n1  0\n"
	flat := func(text string) string {
		var out []string
		for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
			out = append(out, strings.Join(strings.Fields(strings.ReplaceAll(line, " - ", " ")), " "))
		}
		return strings.Join(out, "\n")
	}
	var shown said
	for end := time.Now().Add(patience); ; {
		if shown = loopmesh("placement", "ls", "--columns", columns, "--no-headers"); flat(strings.ReplaceAll(shown.out, "-\n", "\n")) == flat(want) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%+v\nwant\n%s", shown, want)
		}
	}
	list := decoded[admin.List[admin.Placement]](t, loopmesh("placement", "ls", "-o", "json", "--filter", "state=running"))
	owner, err := names.Resolve(ctx, n, "placement/shard/eu 1")
	if err != nil || list.Kind != "PlacementList" || len(list.Items) != 1 || list.Items[0].Token != owner.Token || list.Items[0].Loop != owner.Loop || !list.Items[0].Since.Equal(owner.Since) {
		t.Errorf("%+v, the owner is %+v %v", list, owner, err)
	}
	if s := loopmesh("func", "ls", "-o", "name"); strings.Contains(s.out, "placement.") {
		t.Errorf("the supervisor's functions are listed as the program's: %q", s.out)
	}
	if s := loopmesh("placement", "ls", "--filter", "size=1"); s.code != exitUsage || !strings.Contains(s.errs, `no field "size"`) {
		t.Errorf("%+v", s)
	}
}
