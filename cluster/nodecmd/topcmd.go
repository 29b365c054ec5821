package nodecmd

import (
	"fmt"
	"os"
	"time"

	"github.com/charmbracelet/x/term"
	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cluster/nodecmd/top"
)

// Why it refuses anything but a terminal: it would write the moves of a cursor into a file,
// and wait for keys that nobody presses. /dev/null is a device and no terminal, so the
// kernel is asked and not the mode of the file.
//
// newTop is for people only: it draws on a terminal, and says so elsewhere. Everything it
// shows can be listed by other commands.
func newTop() *cobra.Command {
	var o target
	cmd := &cobra.Command{
		Use: "top", Short: "watch nodes, loops, tasks and connections in the terminal", Args: noArgs,
		Long: "Shows the cluster and asks again each second. Keys: 1 to 4 choose the list, Enter looks into the marked line (a node's loops, a loop's\n" +
			"tasks), Esc goes back, / filters, s sorts by the next column, r turns the order round, p pauses, x cancels the marked task or closes\n" +
			"the marked connection, X aborts it (both ask first), q leaves.",
		Example: "  loopmesh top\n  loopmesh top --node n2",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			for _, f := range []*os.File{os.Stdin, os.Stdout} {
				if !term.IsTerminal(f.Fd()) {
					return usageError{fmt.Errorf("%s needs a terminal; ls, loop ls, ps and conn ls print the same lists", cmd.CommandPath())}
				}
			}
			client, err := o.client(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			return top.Run(cmd.Context(), client, printable, os.Stdin, os.Stdout, os.Environ())
		},
	}
	o.output.format = formatTable
	cmd.Flags().StringVarP(&o.node, "node", "n", "", "ask this node, one of yours on this machine; each shows the whole cluster")
	cmd.Flags().StringVarP(&o.socket, "socket", "s", "", "ask the node with this admin socket, instead of --node")
	cmd.Flags().StringVar(&o.context, "context", "", "ask the target that 'loopmesh context save' has kept under this name")
	_ = cmd.RegisterFlagCompletionFunc("context", suggestContexts)
	o.timeout = 5 * time.Second
	return cmd
}
