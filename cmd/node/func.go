package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cmd/node/admin"
)

// newFunc is the noun "func": the functions that the programs of the cluster register,
// and calls of them from a shell.
func newFunc() *cobra.Command {
	return group("func", "functions that loops of any node can run", newFuncLs(), newFuncCall())
}

// newFuncLs lists functions by name with the nodes that have them. The node's own
// functions, through which nodes ask each other for these lists, are left out: calling
// them by hand is of no use and would look like an offer.
func newFuncLs() *cobra.Command {
	var o target
	var all bool
	cmd := &cobra.Command{
		Use: "ls", Short: "list the functions of all nodes", Args: noArgs, Example: "  loopmesh func ls",
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := ask(cmd, &o, func(ctx context.Context, c *admin.Client) (*admin.List[admin.Func], error) { return c.Funcs(ctx) })
			if err != nil {
				return err
			}
			if !all {
				list.Items = slices.DeleteFunc(list.Items, func(f admin.Func) bool { return f.Internal })
			}
			if err := showFuncs(cmd, &o.output, list); err != nil {
				return err
			}
			return partial(&o, list)
		},
	}
	o.lists(cmd)
	cmd.Flags().BoolVarP(&all, "all", "a", false, "include internal functions")
	return cmd
}

func showFuncs(cmd *cobra.Command, o *output, list *admin.List[admin.Func]) error {
	return show(cmd, o, list,
		column[admin.Func]{"FUNCTION", func(f admin.Func) string { return f.ID }},
		column[admin.Func]{"INPUT", func(f admin.Func) string { return f.In }},
		column[admin.Func]{"OUTPUT", func(f admin.Func) string { return f.Out }},
		column[admin.Func]{"NODES", func(f admin.Func) string { return strings.Join(f.Nodes, " ") }},
	)
}

// newFuncCall is cluster.Function.Call for people. The node that is asked makes the call
// in this command's place: it passes the deadline on, and when this command is
// interrupted it ends the request, which cancels the function's task on the other node.
// The argument is checked to be JSON here, before anybody is asked; whether it fits the
// function's type is for the function's node to say.
func newFuncCall() *cobra.Command {
	var o target
	var on string
	cmd := &cobra.Command{
		Use: "call NAME JSON", Short: "run a function on a loop and print its result", Args: named,
		Long: "Runs the function NAME on the loop --on, at most once, with JSON as its argument; - reads it from standard input.\n" +
			"Prints the result as JSON; -o json wraps it in a document that says how long it took.\n" +
			"After exit code 4 or 5 it may have run or not. Whoever interrupts this command cancels the function's task.",
		Example: "  loopmesh func call demo.add '[1,2]' --on n2/io-0",
		RunE: func(cmd *cobra.Command, args []string) error {
			payload, err := argument(cmd, args[1])
			if err != nil {
				return err
			}
			if on == "" {
				return usageError{fmt.Errorf("--on is missing: name a loop, for example --on n1/io-0; \"loopmesh loop ls\" lists them")}
			}
			if !json.Valid(payload) {
				return usageError{fmt.Errorf("the argument %q is not JSON; write text as '\"text\"', nothing as null", args[1])}
			}
			q := admin.CallRequest{Function: args[0], On: on, Payload: payload}
			result, err := ask(cmd, &o, func(ctx context.Context, c *admin.Client) (*admin.CallResult, error) { return c.Call(ctx, q) })
			if err != nil {
				return err
			}
			if o.format == formatJSON {
				return o.document(cmd, result)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", result.Result)
			return err
		},
	}
	o.flags(cmd)
	cmd.Flags().StringVar(&on, "on", "", "the loop that runs it, as node/loop")
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return suggest(cmd, func(ctx context.Context, c *admin.Client) (names []string) {
			if list, err := c.Funcs(ctx); err == nil {
				for _, f := range list.Items {
					names = append(names, f.ID)
				}
			}
			return names
		})
	}
	_ = cmd.RegisterFlagCompletionFunc("on", func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return suggest(cmd, func(ctx context.Context, c *admin.Client) (names []string) {
			if list, err := c.Loops(ctx); err == nil {
				for _, l := range list.Items {
					names = append(names, l.ID)
				}
			}
			return names
		})
	})
	return cmd
}

// maxInput bounds what is read from standard input; it is above every node's MaxPayload
// as delivered, so that the node's own limit is the one that is told.
const maxInput = 8 << 20

// argument is text, or standard input for a dash.
func argument(cmd *cobra.Command, text string) ([]byte, error) {
	if text != "-" {
		return []byte(text), nil
	}
	b, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), maxInput+1))
	if err == nil && len(b) > maxInput {
		err = fmt.Errorf("more than %d bytes", maxInput)
	}
	if err != nil {
		return nil, fmt.Errorf("reading standard input: %w", err)
	}
	return b, nil
}

// suggestLimit is how long a user waits for the word behind a tab.
const suggestLimit = 300 * time.Millisecond

// suggest asks a node for words that complete an argument. Errors give no words
// and no message, since a shell shows none while it completes; the short limit
// keeps the prompt from hanging on a node that does not answer.
func suggest(cmd *cobra.Command, question func(context.Context, *admin.Client) []string) ([]string, cobra.ShellCompDirective) {
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, suggestLimit)
	defer cancel()
	var o target
	o.node, _ = cmd.Flags().GetString("node") // both are there
	o.socket, _ = cmd.Flags().GetString("socket")
	client, err := o.client(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer client.Close()
	return question(ctx, client), cobra.ShellCompDirectiveNoFileComp
}

// words completes one of a few words.
func words(all ...string) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return all, cobra.ShellCompDirectiveNoFileComp
	}
}
