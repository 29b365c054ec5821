package nodecmd

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// The commands about servers, child processes and actors: lists, and what ends one of
// them.
//
// Three kinds of end, from soft to hard. A server that is closed takes no more
// connections, and those that there are go on: that is how a node is emptied. An actor
// that is stopped handles what it is handling, tells its watchers and ends; what waited
// in its mailbox is answered by the system. A signal reaches a child at once, and what
// that means is the child's business.
//
// None of these asks back, and each is recorded as an event of the node where it
// happened, with --reason: whoever wonders in the morning finds it.

// newListener groups the commands about servers: what takes connections. Their numbers
// are places in the order of their addresses, so an id means another server once one
// before it is gone; list again before closing a second one.
func newListener() *cobra.Command {
	return group("server", "list what takes connections, and close it", listing[admin.Listener]{
		use: "ls", short: "list the servers of all nodes",
		long:    "Lists what takes connections on the loops of all nodes. FAILED counts connections that were accepted and could not be served.",
		example: "  loopmesh server ls",
		ask:     func(ctx context.Context, c *admin.Client) (*admin.List[admin.Listener], error) { return c.Servers(ctx) },
		columns: []column[admin.Listener]{
			{"SERVER", func(s admin.Listener) string { return s.ID }},
			{"ADDRESSES", func(s admin.Listener) string { return strings.Join(s.Addresses, " ") }},
			{"SERVING", func(s admin.Listener) string { return yesNo(s.Serving) }},
			{"FAILED", func(s admin.Listener) string { return fmt.Sprint(s.Failed) }},
		},
	}.command(), ordering("close SERVER", "take no more connections; those that there are go on",
		"Closes the server SERVER, an id that 'loopmesh server ls' prints. Its connections go on.", "  loopmesh server close n1/io-0/servers/1",
		func(ctx context.Context, c *admin.Client, id, reason string) (*admin.Done, error) {
			return c.CloseServer(ctx, id, reason)
		}))
}

// newProc groups the commands about child processes. Their ids end in the PID, which the
// kernel may give to somebody else later; the node looks the PID up among its own
// children and signals through the handle it holds, so a stranger is never hit.
func newProc() *cobra.Command {
	var signal string
	send := ordering("signal PROC", "send a signal to a child process",
		"Sends a signal to the child process PROC, an id that 'loopmesh proc ls' prints.", "  loopmesh proc signal n1/io-0/procs/4711 --signal KILL",
		func(ctx context.Context, c *admin.Client, id, reason string) (*admin.Done, error) {
			return c.Signal(ctx, id, signal, reason)
		})
	send.Flags().StringVar(&signal, "signal", "TERM", "HUP, INT, QUIT, KILL, TERM or a number")
	return group("proc", "list child processes, send them signals, and run commands on other nodes", listing[admin.Child]{
		use: "ls", short: "list the child processes of all nodes",
		long: "Lists the child processes that the loops of all nodes have started. PROCESS and OWNER are of those that a profile has started: who has it;\n" +
			"'loopmesh proc attach' takes one whose profile keeps it and that nobody has, also one that has ended.",
		example: "  loopmesh proc ls\n  loopmesh proc ls --filter keep=true --filter owner= -o name",
		ask:     func(ctx context.Context, c *admin.Client) (*admin.List[admin.Child], error) { return c.Children(ctx) },
		columns: []column[admin.Child]{
			{"PROC", func(p admin.Child) string { return p.ID }},
			{"STATE", childState},
			{"PROCESS", func(p admin.Child) string { return p.Process }},
			{"OWNER", func(p admin.Child) string { return p.Owner }},
			{"COMMAND", func(p admin.Child) string { return strings.Join(p.Args, " ") }},
			wide[admin.Child](),
			{"DIR", func(p admin.Child) string { return p.Dir }},
		},
	}.command(), send, newProcRun(), newProcAttach())
}

// childState is one word for people: closing is one whose program has given it up and
// that has not ended yet.
func childState(p admin.Child) string {
	switch {
	case p.Ended:
		return "ended"
	case p.Closing:
		return "closing"
	}
	return "running"
}

// newActor groups the commands about actors. An actor that has a queue which grows is
// slower than those who send to it; one with ASKS holds up whoever asked.
func newActor() *cobra.Command {
	return group("actor", "list actors, and stop them", listing[admin.Actor]{
		use: "ls", short: "list the actors of all nodes",
		long: "Lists the actors of all nodes. QUEUED is how many messages wait, ASKS how many questions it has taken and not answered. STATE is\n" +
			"restarting for one that failed and waits for its restart.",
		example: "  loopmesh actor ls --sort -queued",
		ask:     func(ctx context.Context, c *admin.Client) (*admin.List[admin.Actor], error) { return c.Actors(ctx) },
		columns: []column[admin.Actor]{
			{"ACTOR", func(a admin.Actor) string { return a.ID }},
			{"LOOP", func(a admin.Actor) string { return a.Loop }},
			{"STATE", func(a admin.Actor) string {
				if a.RestartDue {
					return "restarting"
				}
				return "running"
			}},
			{"QUEUED", func(a admin.Actor) string { return fmt.Sprint(a.Queued) }},
			{"LIMIT", func(a admin.Actor) string {
				if a.Limit == 0 {
					return ""
				}
				return fmt.Sprint(a.Limit)
			}},
			{"ASKS", func(a admin.Actor) string { return fmt.Sprint(a.Asks) }},
		},
	}.command(), ordering("stop ACTOR", "stop an actor of any node",
		"Asks the actor ACTOR, an address that 'loopmesh actor ls' prints, to stop. Exit code 0 means that it was asked.", "  loopmesh actor stop n1/clock",
		func(ctx context.Context, c *admin.Client, id, _ string) (*admin.Done, error) {
			return c.StopActor(ctx, id)
		}))
}

// ordering is a command that does something to one thing, by its id. It has no list
// flags: there is one target, and it was named. Whether the target's node lets this node
// do that is decided there (the right "admin").
func ordering(use, short, long, example string, do func(ctx context.Context, c *admin.Client, id, reason string) (*admin.Done, error)) *cobra.Command {
	var o target
	var reason string
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long, Example: example, Args: exactArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runOperation(cmd, &o, func(ctx context.Context, c *admin.Client) (*admin.Done, error) { return do(ctx, c, args[0], reason) })
		},
	}
	o.flags(cmd)
	reasonFlag(cmd, &reason)
	return cmd
}

// newInspect shows everything about one thing, whatever its kind is: the id says it.
func newInspect() *cobra.Command {
	var o target
	cmd := &cobra.Command{
		Use: "inspect ID", Short: "show everything about anything that a list prints, as JSON", Args: exactArgs,
		Long:    "Shows the document of ID: a node, a loop, or anything on one (task, connection, server, process, actor), as lists print their ids.\nA loop is measured for a moment.",
		Example: "  loopmesh inspect n1\n  loopmesh inspect n1/io-0\n  loopmesh inspect n1/io-0/tasks/7",
		RunE: func(cmd *cobra.Command, args []string) error {
			found, err := ask(cmd, &o, func(ctx context.Context, c *admin.Client) (any, error) { return inspect(ctx, c, args[0]) })
			if err != nil {
				return err
			}
			if o.format == formatName {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), args[0])
				return err
			}
			return o.document(cmd, found)
		},
	}
	o.flags(cmd)
	return cmd
}

// inspect asks for the list in which an id can stand, and picks it. The form of an id
// says its kind: how many parts it has, and what the third one is. Two parts are a loop
// or an actor, whose addresses look alike; the loop is tried first.
func inspect(ctx context.Context, c *admin.Client, id string) (any, error) {
	parts := strings.Split(id, "/")
	switch {
	case len(parts) == 1:
		return one(ctx, id, "node", c.AllNodes, func(n admin.Node) string { return n.ID })
	case len(parts) == 4 && parts[2] == "tasks":
		tasks := func(ctx context.Context) (*admin.List[admin.Task], error) { return c.Tasks(ctx, wholeStack) }
		return one(ctx, id, "task", tasks, func(t admin.Task) string { return t.ID })
	case len(parts) == 4 && parts[2] == "transports":
		return one(ctx, id, "connection", c.Conns, func(t admin.Conn) string { return t.ID })
	case len(parts) == 4 && parts[2] == "servers":
		return one(ctx, id, "server", c.Servers, func(s admin.Listener) string { return s.ID })
	case len(parts) == 4 && parts[2] == "procs", len(parts) == 3:
		return one(ctx, id, "process", c.Children, func(p admin.Child) string { return p.ID })
	}
	if len(parts) == 2 {
		loops := func(ctx context.Context) (*admin.List[admin.Loop], error) {
			return c.MeasuredLoops(ctx, defaultMeasure)
		}
		if found, err := one(ctx, id, "loop", loops, func(l admin.Loop) string { return l.ID }); err == nil {
			return found, nil
		}
	}
	return one(ctx, id, "loop or actor", c.Actors, func(a admin.Actor) string { return a.ID })
}

// one picks the item with that id out of a list. When it is not there and its loop or
// node did not answer, the error is that, and not "there is none".
func one[T any](ctx context.Context, id, what string, list func(context.Context) (*admin.List[T], error), idOf func(T) string) (any, error) {
	all, err := list(ctx)
	if err != nil {
		return nil, err
	}
	for _, item := range all.Items {
		if idOf(item) == id {
			return item, nil
		}
	}
	return nil, notListed(what, id, all.Partial)
}
