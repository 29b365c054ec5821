package nodecmd

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// The commands about connections: the sockets that programs on the loops serve or
// have opened. None of them touches a socket itself. They send to the address of the
// connection's actor, and its loop does on its own goroutine what the program there
// could have done.

// newConn groups the commands about connections. An id that "conn ls" prints,
// NODE/LOOP/transports/NUMBER, is the address of the connection's actor. "write" and
// "close" send to that address, so the node that is asked need not be the one that
// holds the connection.
func newConn() *cobra.Command {
	return group("conn", "list connections, write to them and close them", newConnLs(), newConnWrite(), newConnClose())
}

// newConnLs lists what each loop tells. A loop tells of its oldest 2000 connections;
// how many more it has is an entry of "partial", and so exit code 4.
func newConnLs() *cobra.Command {
	var o target
	cmd := &cobra.Command{
		Use: "ls", Short: "list the connections of all nodes", Args: noArgs,
		Long: "Lists the connections of all nodes. CONN is the id that 'conn write' and 'conn close' take. WAITING is how many bytes were\n" +
			"written and not yet sent: a peer that does not read lets it grow. STATE is open, peer slow (it does not take what\nwas written), not reading (the program has paused it) or closing.\n" +
			"Exit code 4 when a node or a loop does not answer.",
		Example: "  loopmesh conn ls\n  loopmesh conn ls -o name",
		RunE: func(cmd *cobra.Command, _ []string) error {
			question := func(ctx context.Context, c *admin.Client) (*admin.List[admin.Conn], error) { return c.Conns(ctx) }
			return runList(cmd, &o, question, func(list *admin.List[admin.Conn]) error { return showConns(cmd, &o.output, list) })
		},
	}
	o.listFlags(cmd)
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
		wide[admin.Conn](),
		column[admin.Conn]{"IN", func(c admin.Conn) string { return fmt.Sprint(c.BytesIn) }},
		column[admin.Conn]{"OUT", func(c admin.Conn) string { return fmt.Sprint(c.BytesOut) }},
		column[admin.Conn]{"MARKS", func(c admin.Conn) string { return fmt.Sprintf("%d/%d", c.Low, c.High) }},
		column[admin.Conn]{"TLS", func(c admin.Conn) string { return c.TLS }},
		column[admin.Conn]{"PAUSED", func(c admin.Conn) string { return c.Paused }},
	)
}

// stateOf is one word for people. "not reading" is back pressure: the program has
// called PauseReading, the peer's bytes wait in the kernel, and when the kernel's
// buffer is full the peer's writes wait, too.
func stateOf(c admin.Conn) string {
	switch {
	case c.Closing:
		return "closing"
	case c.Paused != "":
		return "peer slow"
	case !c.Reading:
		return "not reading"
	}
	return "open"
}

// newConnWrite sends bytes to a peer as if the connection's own protocol had written
// them. It ends with 0 when the connection has taken them, not when the peer has: TCP
// tells nobody that. A connection whose write buffer is above its high water mark
// takes nothing until its peer has read enough; then the command waits, and ends with
// 5 when that takes longer than --timeout.
func newConnWrite() *cobra.Command {
	var o target
	var line bool
	cmd := &cobra.Command{
		Use: "write CONN TEXT", Short: "write to a connection of any node", Args: exactArgs,
		Long: "Writes TEXT as it is to the connection CONN, an id that 'loopmesh conn ls' shows. TEXT - takes it from standard input.\n" +
			"Exit code 0 means that the connection has taken the bytes, not that the peer has read them. After exit code 4 or 5 they may\n" +
			"have been written or not.",
		Example: "  loopmesh conn write --line n2/chat/transports/4 'the server restarts at six'\n  loopmesh conn write n2/chat/transports/4 - < greeting.txt",
		RunE: func(cmd *cobra.Command, args []string) error {
			data, err := argument(cmd, args[1])
			if err != nil {
				return err
			}
			if line {
				data = append(data, '\n')
			}
			return runOperation(cmd, &o, func(ctx context.Context, c *admin.Client) (*admin.Done, error) { return c.Write(ctx, args[0], data) })
		},
		ValidArgsFunction: suggestConns,
	}
	o.flags(cmd)
	cmd.Flags().BoolVarP(&line, "line", "l", false, "append a newline")
	return cmd
}

// newConnClose ends a connection: what was written is sent first, for as long as the
// peer takes it. A peer that does not read keeps such a connection open; --abort is
// for that one.
func newConnClose() *cobra.Command {
	var o target
	var abort bool
	var reason string
	cmd := &cobra.Command{
		Use: "close CONN", Short: "close a connection of any node", Args: exactArgs,
		Long:    "Closes the connection CONN, an id that 'loopmesh conn ls' shows, when what was written to it has been sent.",
		Example: "  loopmesh conn close n2/chat/transports/4\n  loopmesh conn close --abort n2/chat/transports/4",
		RunE: func(cmd *cobra.Command, args []string) error {
			return runOperation(cmd, &o, func(ctx context.Context, c *admin.Client) (*admin.Done, error) {
				return c.CloseConn(ctx, args[0], abort, reason)
			})
		},
		ValidArgsFunction: suggestConns,
	}
	o.flags(cmd)
	cmd.Flags().BoolVar(&abort, "abort", false, "close at once; what was not sent is dropped")
	reasonFlag(cmd, &reason)
	return cmd
}

// runOperation runs an operation whose only result is that it was done. As a table it
// prints nothing: exit code 0 says it.
func runOperation(cmd *cobra.Command, o *target, do func(context.Context, *admin.Client) (*admin.Done, error)) error {
	done, err := ask(cmd, o, do)
	if err != nil {
		return err
	}
	switch {
	case o.forPrograms():
		return o.document(cmd, done)
	case o.format == formatName:
		_, err = fmt.Fprintln(cmd.OutOrStdout(), done.ID)
	}
	return err
}

// suggestConns completes a connection's id; a shell that can shows the peer beside
// it.
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
