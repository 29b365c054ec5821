package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cmd/node/admin"
)

// newConn is the noun "conn": what can be seen and done with the connections of all
// nodes. An id that "conn ls" prints, NODE/LOOP/transports/NUMBER, is the address of the
// connection's actor; "write" and "close" send it a message, wherever it lives, so the
// node that is asked need not be the one that holds the connection.
func newConn() *cobra.Command {
	return group("conn", "connections on the loops", newConnLs(), newConnWrite(), newConnClose())
}

func newConnLs() *cobra.Command {
	var o target
	cmd := &cobra.Command{
		Use: "ls", Short: "list the connections of all nodes", Args: noArgs, Example: "  loopmesh conn ls",
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := ask(cmd, &o, func(ctx context.Context, c *admin.Client) (*admin.List[admin.Conn], error) { return c.Conns(ctx) })
			if err != nil {
				return err
			}
			if err := showConns(cmd, &o.output, list); err != nil {
				return err
			}
			return partial(&o, list)
		},
	}
	o.lists(cmd)
	return cmd
}

// showConns prints connections. WAITING is what was written and not yet taken by the
// kernel: a number that stays high is a peer that does not read.
func showConns(cmd *cobra.Command, o *output, list *admin.List[admin.Conn]) error {
	return show(cmd, o, list,
		column[admin.Conn]{"CONN", func(c admin.Conn) string { return c.ID }},
		column[admin.Conn]{"PEER", func(c admin.Conn) string { return c.Peer }},
		column[admin.Conn]{"LOCAL", func(c admin.Conn) string { return c.Local }},
		column[admin.Conn]{"WAITING", func(c admin.Conn) string { return fmt.Sprint(c.WriteBuffer) }},
		column[admin.Conn]{"STATE", func(c admin.Conn) string { return stateOf(c) }},
		column[admin.Conn]{"PROTOCOL", func(c admin.Conn) string { return c.Protocol }},
	)
}

// stateOf is one word for people. "not reading" is back pressure: the protocol has
// called PauseReading, and the peer's bytes wait in the kernel.
func stateOf(c admin.Conn) string {
	switch {
	case c.Closing:
		return "closing"
	case !c.Reading:
		return "not reading"
	}
	return "open"
}

// newConnWrite sends bytes to a peer as if the connection's own protocol had written
// them. Exit code 0 comes when the connection has taken them, not when the peer has:
// TCP tells nobody that. A connection that is above its high mark answers later, when
// its peer has read enough, or the command ends with 5, timed out.
func newConnWrite() *cobra.Command {
	var o target
	var line bool
	cmd := &cobra.Command{
		Use: "write CONN TEXT", Short: "write to a connection of any node", Args: named,
		Long: "Writes TEXT as it is to the connection CONN, an id of \"loopmesh conn ls\"; - reads it from standard input.\n" +
			"Exit code 0 means that it is in the connection's write buffer.",
		Example: "  loopmesh conn write --line n2/chat/transports/4 'the server restarts at six'",
		RunE: func(cmd *cobra.Command, args []string) error {
			data, err := argument(cmd, args[1])
			if err != nil {
				return err
			}
			if line {
				data = append(data, '\n')
			}
			return carryOut(cmd, &o, func(ctx context.Context, c *admin.Client) (*admin.Done, error) { return c.Write(ctx, args[0], data) })
		},
		ValidArgsFunction: suggestConns,
	}
	o.flags(cmd)
	cmd.Flags().BoolVarP(&line, "line", "l", false, "append a newline")
	return cmd
}

// newConnClose ends a connection: what was written is sent first, for as long as the
// peer takes it; --abort drops it.
func newConnClose() *cobra.Command {
	var o target
	var abort bool
	cmd := &cobra.Command{
		Use: "close CONN", Short: "close a connection of any node", Args: named,
		Long:    "Closes the connection CONN, an id of \"loopmesh conn ls\", when what was written to it has been sent.",
		Example: "  loopmesh conn close n2/chat/transports/4",
		RunE: func(cmd *cobra.Command, args []string) error {
			return carryOut(cmd, &o, func(ctx context.Context, c *admin.Client) (*admin.Done, error) {
				return c.CloseConn(ctx, args[0], abort)
			})
		},
		ValidArgsFunction: suggestConns,
	}
	o.flags(cmd)
	cmd.Flags().BoolVar(&abort, "abort", false, "close at once and drop what was not sent")
	return cmd
}

// carryOut runs an operation whose only result is that it was done.
func carryOut(cmd *cobra.Command, o *target, do func(context.Context, *admin.Client) (*admin.Done, error)) error {
	done, err := ask(cmd, o, do)
	if err != nil {
		return err
	}
	switch o.format {
	case formatJSON:
		return o.document(cmd, done)
	case formatName:
		_, err = fmt.Fprintln(cmd.OutOrStdout(), done.ID)
	}
	return err
}

// suggestConns completes a connection's id; the shell shows the peer beside it.
func suggestConns(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return suggest(cmd, func(ctx context.Context, c *admin.Client) (ids []string) {
		if list, err := c.Conns(ctx); err == nil {
			for _, conn := range list.Items {
				ids = append(ids, conn.ID+"\t"+conn.Peer)
			}
		}
		return ids
	})
}
