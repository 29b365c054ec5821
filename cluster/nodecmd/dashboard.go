package nodecmd

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// Why a new link each time and not the token of the listener: a link ends up in the history
// of a shell, in a chat or on a slide. This one is worth nothing once it was opened, and
// after an hour in any case.
//
// newDashboard prints a link and opens no browser: the browser may be on another machine,
// behind an ssh tunnel. The link goes to stdout, so that a shell can hand it on:
// xdg-open "$(loopmesh dashboard)".
func newDashboard() *cobra.Command {
	var o target
	cmd := &cobra.Command{
		Use: "dashboard", Short: "print a link that opens the dashboard in a browser", Args: noArgs,
		Long: "Prints a link to the dashboard of a node that listens on a port (start --admin-listen, dev). It works once, within an hour, and\n" +
			"gives the browser the right to change things for twelve hours. Whoever gets the link can do what these commands can.",
		Example: "  loopmesh dashboard\n  xdg-open \"$(loopmesh dashboard)\"",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ticket, err := ask(cmd, &o, func(ctx context.Context, c *admin.Client) (*admin.Ticket, error) { return c.Ticket(ctx) })
			if err != nil {
				return err
			}
			if o.forPrograms() {
				return o.document(cmd, ticket)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), ticket.URL)
			return err
		},
	}
	o.flags(cmd)
	return cmd
}
