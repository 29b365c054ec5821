package nodecmd

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// newReload has a node read its configuration again.
func newReload() *cobra.Command {
	var o target
	cmd := &cobra.Command{
		Use: "reload [NODE]", Short: "have a node read its configuration again, and say what has changed", Args: oneNodeAtMost, ValidArgsFunction: suggestNodes,
		Long: "Has NODE, by default the node that is asked, read the file of start --config and the files that its keys name again. These keys change\n" +
			"while it runs: log-level, log-module, drain, profile (what runs goes on), admin-token-file (sessions of browsers end), tls-cert and\n" +
			"tls-key (from the next connection on). Other keys that have changed are named: they need a restart. The keys and the statement in the\n" +
			"folder of --keys, and the file of --credentials, are read at each connection anyway. A configuration with a mistake changes nothing:\n" +
			"exit code 8, with the line. SIGHUP of the process does the same, and 'systemctl reload'.",
		Example: "  loopmesh reload\n  loopmesh reload n2 -o json",
		RunE: func(cmd *cobra.Command, args []string) error {
			done, err := ask(cmd, &o, func(ctx context.Context, c *admin.Client) (*admin.Reload, error) {
				node, err := nodeArgument(ctx, c, args)
				if err != nil {
					return nil, err
				}
				return c.Reload(ctx, node)
			})
			if err != nil {
				return err
			}
			return showReload(cmd, &o.output, done)
		},
	}
	o.flags(cmd)
	return cmd
}

// showReload prints the changes of one reload.
func showReload(cmd *cobra.Command, o *output, done *admin.Reload) error {
	switch {
	case o.forPrograms():
		return o.document(cmd, done)
	case o.format == formatName:
		for _, c := range done.Changes {
			if _, err := fmt.Fprintln(cmd.OutOrStdout(), printable(c.Key)); err != nil {
				return err
			}
		}
		return nil
	case len(done.Changes) == 0:
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s has read its configuration: nothing is new\n", printable(done.ID))
		return err
	}
	list := &admin.List[admin.Change]{Items: done.Changes}
	return show(cmd, o, list, changeColumns()...)
}

func changeColumns() []column[admin.Change] {
	return []column[admin.Change]{
		{"KEY", func(c admin.Change) string { return c.Key }},
		{"WAS", func(c admin.Change) string { return c.Was }},
		{"NOW", func(c admin.Change) string { return c.Value }},
		{"APPLIED", func(c admin.Change) string {
			if c.Applied {
				return "yes"
			}
			return "needs a restart"
		}},
		{"NOTE", func(c admin.Change) string { return c.Note }},
	}
}
