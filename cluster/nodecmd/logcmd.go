package nodecmd

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// The log of a node that runs: its last lines, and from which level on each module of it
// logs. A node keeps its last thousand lines, those that its levels let through; so the way
// to see more is to lower a level and wait for it to happen again.

// newLogs groups the commands about logs.
func newLogs() *cobra.Command {
	return group("log", "show the last lines of a node's log, and change its levels", newLogTail(), newLogLevels(), newLogSet())
}

// Which node? Reading takes the one that is asked when none is named, because that is the one
// a person has logged in to. Changing a level names its node: it goes on until that node ends.
// nodeArgument is the node that a command is about: its argument, else the one that is
// asked.
func nodeArgument(ctx context.Context, c *admin.Client, args []string) (string, error) {
	if len(args) > 0 {
		return args[0], nil
	}
	self, err := c.Self(ctx)
	if err != nil {
		return "", err
	}
	return self.Name, nil
}

func newLogTail() *cobra.Command {
	var o target
	var module string
	lines := 100
	cmd := &cobra.Command{
		Use: "tail [NODE]", Short: "print the newest lines of a node's log", Args: oneNodeAtMost, ValidArgsFunction: suggestNodes,
		Long:    "Prints the newest lines of the log of NODE, by default of the node that is asked. A node keeps its last 1000 lines.",
		Example: "  loopmesh log tail n2 --lines 20\n  loopmesh log tail n2 --module nats -o jsonl",
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := ask(cmd, &o, func(ctx context.Context, c *admin.Client) (*admin.List[admin.LogLine], error) {
				node, err := nodeArgument(ctx, c, args)
				if err != nil {
					return nil, err
				}
				return c.LogTail(ctx, node, module, lines)
			})
			if err != nil {
				return err
			}
			return showLog(cmd, &o.output, list)
		},
	}
	o.flags(cmd)
	cmd.Flags().StringVar(&module, "module", "", "only of modules whose name contains this")
	cmd.Flags().IntVar(&lines, "lines", lines, "how many lines, 1 to 1000")
	return cmd
}

// A line is what the node wrote to its stderr, so what a person has learnt to read there looks
// the same here. What a terminal would obey in it is replaced, as everywhere.
// showLog prints the lines as they were logged; a message of several lines keeps them.
func showLog(cmd *cobra.Command, o *output, list *admin.List[admin.LogLine]) error {
	if o.format != formatTable && o.format != formatWide {
		return show(cmd, o, list, column[admin.LogLine]{"ID", func(l admin.LogLine) string { return l.ID }})
	}
	var b strings.Builder
	for _, l := range list.Items {
		b.WriteString(printableLines(strings.ReplaceAll(l.Text, "\t", "    ")) + "\n")
	}
	_, err := io.WriteString(cmd.OutOrStdout(), b.String())
	return err
}

func newLogLevels() *cobra.Command {
	var o target
	cmd := &cobra.Command{
		Use: "levels [NODE]", Short: "list from which levels on the modules of a node log", Args: oneNodeAtMost, ValidArgsFunction: suggestNodes,
		Long:    "Lists the modules of NODE, by default of the node that is asked, that have said something or have a level of their own.\n* is all that have none.",
		Example: "  loopmesh log levels n2",
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := ask(cmd, &o, func(ctx context.Context, c *admin.Client) (*admin.List[admin.LogLevel], error) {
				node, err := nodeArgument(ctx, c, args)
				if err != nil {
					return nil, err
				}
				return c.LogLevels(ctx, node)
			})
			if err != nil {
				return err
			}
			return show(cmd, &o.output, list, levelColumns()...)
		},
	}
	o.flags(cmd)
	return cmd
}

func levelColumns() []column[admin.LogLevel] {
	return []column[admin.LogLevel]{
		{"MODULE", func(l admin.LogLevel) string { return l.Module }},
		{"LEVEL", func(l admin.LogLevel) string { return l.Level }},
		{"OWN", func(l admin.LogLevel) string { return yesNo(l.Set) }},
	}
}

func newLogSet() *cobra.Command {
	var o target
	var module string
	cmd := &cobra.Command{
		Use: "set NODE LEVEL", Short: "make a node, or a module of it, log from a level on", Args: exactArgs,
		Long: "Makes NODE log from LEVEL on: trace, debug, info, warn, error or off; with --module only that module, and then 'default' takes its\n" +
			"level away. It lasts until the node ends, and is an event of that node. Each message of the NATS server is traced only by a node\n" +
			"that was started with --log-level trace.",
		Example: "  loopmesh log set n2 debug --module nats\n  loopmesh log set n2 default --module nats\n  loopmesh log set n2 warn",
		RunE: func(cmd *cobra.Command, args []string) error {
			return runOperation(cmd, &o, func(ctx context.Context, c *admin.Client) (*admin.Done, error) {
				return c.SetLogLevel(ctx, args[0], module, args[1])
			})
		},
		ValidArgsFunction: func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 1 {
				return []string{"trace", "debug", "info", "warn", "error", "off", "default"}, cobra.ShellCompDirectiveNoFileComp
			}
			return suggestNodes(cmd, args, word)
		},
	}
	o.flags(cmd)
	cmd.Flags().StringVar(&module, "module", "", "only this module, as 'log levels' prints it")
	return cmd
}

// Files are named on stdout because they are what the command made: a script goes on with the
// name, and one that chose it itself ignores the line.
// sayWrote tells people where a file is; programs get a document.
func sayWrote(cmd *cobra.Command, o *output, kind, path string, size int) error {
	switch {
	case o.forPrograms():
		return o.document(cmd, map[string]any{"kind": kind, "apiVersion": admin.APIVersion, "file": path, "bytes": size})
	case o.format == formatName:
		_, err := fmt.Fprintln(cmd.OutOrStdout(), path)
		return err
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "wrote %s (%s)\n", printable(path), byteSize(uint64(size)))
	return err
}
