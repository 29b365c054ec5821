package nodecmd

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// newPlacement groups the commands about singletons that the cluster keeps running. What is
// wanted is a matter of the program (placement.Want, placement.Drop): a name that a person
// typed here would be an instance of which the program knows nothing.
func newPlacement() *cobra.Command {
	return group("placement", "list the singletons that are kept running, and where", listing[admin.Placement]{
		use: "ls", short: "list the singletons that are kept running, and where",
		long: "Lists the singletons of package placement by kind and name. STATE is running, waiting (no node runs it: none serves its kind, or it is\n" +
			"started again in a moment), finished (kept for an hour) or failed (it has spent its restarts, and ERROR is the last one). TOKEN is\n" +
			"higher for each later run. FAILED counts the failures within the time of its budget. Times are UTC.",
		example: "  loopmesh placement ls\n  loopmesh placement ls --filter node=n1 -o name\n  loopmesh placement ls --filter state=failed",
		ask: func(ctx context.Context, c *admin.Client) (*admin.List[admin.Placement], error) {
			return c.Placements(ctx)
		},
		columns: placementColumns(),
	}.command())
}

func placementColumns() []column[admin.Placement] {
	return []column[admin.Placement]{
		{"PLACEMENT", func(p admin.Placement) string { return p.ID }},
		{"STATE", func(p admin.Placement) string { return p.State }},
		{"NODE", func(p admin.Placement) string { return p.Node }},
		{"TOKEN", func(p admin.Placement) string { return token(p.Token) }},
		{"SINCE", func(p admin.Placement) string { return moment(p.Since) }},
		{"FAILED", func(p admin.Placement) string { return fmt.Sprint(p.Failures) }},
		{"ERROR", func(p admin.Placement) string { return p.Error }},
		wide[admin.Placement](),
		{"LOOP", func(p admin.Placement) string { return p.Loop }},
	}
}

// token writes the token of an owner, "" where there is none.
func token(t uint64) string {
	if t == 0 {
		return ""
	}
	return fmt.Sprint(t)
}
