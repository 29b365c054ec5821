package nodecmd

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// What has happened, and what its codes mean: the commands for the morning after.
//
// Events are kept by the node to which they happened, in memory and a bounded number of
// them. So a death is told by those who saw it, not by the dead, and what an incarnation
// knew goes with it. Times are by the clock of the node that tells; between machines
// whose clocks differ the order is theirs.
//
// Codes join the three places where something can be read: errors of commands, events,
// and the page docs/errors.md. "explain" is that page, offline.

// newEvents lists the last events of all nodes, or follows them with -f. Each node
// tells its own: a death is an event of every node that saw it.
func newEvents() *cobra.Command {
	var o target
	var f admin.EventFilter
	var follow bool
	cmd := &cobra.Command{
		Use: "events", Short: "list what has happened on all nodes, or follow it", Args: noArgs,
		Long: "Lists the events of all nodes, oldest first: nodes that come, go and die with the evidence, loops that are blocked, refused and\n" +
			"lost calls, actors that fail, connections to NATS, and what operators did. Each node keeps its last 1024.\n" +
			"'loopmesh explain CODE' says what a code means. Exit code 4 when a node does not answer.",
		Example: "  loopmesh events --since 8h\n  loopmesh events -f --kind node,loop\n  loopmesh events --since 1h --kind LM4104 -o jsonl",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if follow {
				return followEvents(cmd, &o, f)
			}
			question := func(ctx context.Context, c *admin.Client) (*admin.List[admin.Event], error) { return c.Events(ctx, f) }
			columns := eventColumns()
			if o.format == formatName {
				columns = columns[len(columns)-1:]
			}
			return runList(cmd, &o, question, func(list *admin.List[admin.Event]) error { return show(cmd, &o.output, list, columns...) })
		},
	}
	o.listFlags(cmd)
	fl := cmd.Flags()
	fl.BoolVarP(&follow, "follow", "f", false, "print those that follow, too, until Ctrl-C")
	fl.StringVar(&f.Since, "since", "", "only those of the last so long, as 8h, or from this time on (RFC 3339)")
	fl.StringVar(&f.Kinds, "kind", "", "only these kinds (node, loop, call, actor, order, nats) or codes, with commas between them")
	fl.StringVar(&f.Subject, "subject", "", "only those whose subject contains this")
	_ = cmd.RegisterFlagCompletionFunc("kind", completeFrom("node", "loop", "call", "actor", "order", "nats"))
	return cmd
}

// eventColumns are how an event is shown. The id, which only programs need, is the last
// one: with -o name it is the only one.
func eventColumns() []column[admin.Event] {
	return []column[admin.Event]{
		{"TIME", func(e admin.Event) string { return e.Time.Format(time.RFC3339) }},
		{"NODE", func(e admin.Event) string { return e.Node }},
		{"LEVEL", func(e admin.Event) string { return e.Level }},
		{"CODE", func(e admin.Event) string { return e.Code }},
		{"SUBJECT", func(e admin.Event) string { return e.Subject }},
		{"WHAT", func(e admin.Event) string { return e.Text }},
		{"WHY", func(e admin.Event) string { return e.Why }},
		wide[admin.Event](),
		{"KIND", func(e admin.Event) string { return e.Kind }},
		{"ID", func(e admin.Event) string { return e.ID }},
	}
}

// followEvents prints one line for each event as it comes; --timeout bounds only the
// search for the node. It ends with Ctrl-C, which is not an error, or when the node that
// sends the events ends, which is: a program that watches has to look for another one.
// Nodes that do not answer are named on stderr when they change, so that silence is not
// read as quiet.
func followEvents(cmd *cobra.Command, o *target, f admin.EventFilter) error {
	if err := o.check(); err != nil {
		return err
	}
	if o.format == formatYAML || o.format == formatJSON {
		return usageError{fmt.Errorf("--follow has no end, so no document: use -o jsonl")}
	}
	find, cancel := context.WithTimeout(cmd.Context(), o.timeout)
	client, err := o.client(find)
	cancel()
	if err != nil {
		return err
	}
	defer client.Close()
	err = client.Follow(cmd.Context(), f, func(e admin.Event) error { return printEvent(cmd, o, e) }, func(missing []admin.Missing) error {
		for _, m := range missing {
			fmt.Fprintf(cmd.ErrOrStderr(), "%s does not answer: %s\n", printable(m.ID), printable(m.Error.Message))
		}
		return nil
	})
	if cmd.Context().Err() != nil {
		return nil // Ctrl-C is how it ends
	}
	return err
}

// printEvent is one event on one line, if --filter wants it. There is no table here: the
// widths of its columns would be known only at the end.
func printEvent(cmd *cobra.Command, o *target, e admin.Event) error {
	out := cmd.OutOrStdout()
	kept, err := pick(selection{filters: o.selected.filters}, []admin.Event{e}, eventColumns())
	if err != nil || len(kept) == 0 {
		return err
	}
	switch o.format {
	case formatLines:
		return o.document(cmd, e)
	case formatName:
		_, err = fmt.Fprintln(out, printable(e.ID))
		return err
	}
	line := fmt.Sprintf("%s %-5s %s %s  %s: %s", e.Time.Format(time.RFC3339), e.Level, e.Code, e.Node, cmp.Or(e.Subject, "-"), cmp.Or(e.Text, "-"))
	if e.Why != "" {
		line += " (" + e.Why + ")"
	}
	_, err = fmt.Fprintln(out, printable(line))
	return err
}

// newExplain says what a code means. It asks no node.
func newExplain() *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use: "explain CODE", Short: "explain a code: what it means, why it happens, what to do", Args: exactArgs,
		Long:    "Explains a code that stands in an error, an event or a log line, such as LM3101. \"all\" lists every code. It asks no node.",
		Example: "  loopmesh explain LM3101\n  loopmesh explain all",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			if args[0] == "all" {
				list := &admin.List[admin.Code]{Kind: "CodeList", APIVersion: admin.APIVersion, Time: time.Now().UTC(), Items: admin.Codes()}
				return show(cmd, &o, list, column[admin.Code]{"CODE", func(c admin.Code) string { return c.Code }},
					column[admin.Code]{"MEANS", func(c admin.Code) string { return c.Title }})
			}
			code, ok := admin.Explain(args[0])
			if !ok {
				return &admin.Error{Kind: admin.NotFound, Message: fmt.Sprintf("there is no code %q", args[0]), Hint: `"loopmesh explain all" lists them`}
			}
			if o.forPrograms() {
				return o.document(cmd, code)
			}
			return explainTo(cmd.OutOrStdout(), cmd.Root().Name(), code)
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) (out []string, _ cobra.ShellCompDirective) {
			for _, c := range admin.Codes() {
				out = append(out, c.Code+"\t"+c.Title)
			}
			return out, cobra.ShellCompDirectiveNoFileComp
		},
	}
	o.flag(cmd)
	return cmd
}

// explainTo prints an explanation for people: what, why, what to do. The texts name the
// commands of this module's program; a program of one's own sees its own name there.
func explainTo(out io.Writer, program string, c admin.Code) error {
	_, err := fmt.Fprintf(out, "%s: %s\n\n  why      %s\n  do this  %s\n", c.Code, c.Title, named(c.Cause, program), named(c.Do, program))
	return err
}

// ownDocuments are those that the commands put together of several answers; no node sends
// them.
var ownDocuments = map[string]any{
	"Tree": tree{}, "StatusList": admin.List[nodeStatus]{}, "FindingList": admin.List[finding]{}, "DiagnosisList": admin.List[diagnosis]{}, "ContextList": admin.List[contextItem]{},
}

// allKinds are the kinds of documents that schema knows, sorted.
func allKinds() []string {
	return slices.Sorted(slices.Values(slices.AppendSeq(slices.Clone(admin.Kinds()), maps.Keys(ownDocuments))))
}

// newSchema prints the JSON Schema of a document, or the description of the whole API,
// for programs that generate code or check what they read. It asks no node: the types
// are compiled in, so what is printed is what this version sends.
func newSchema() *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use: "schema KIND", Short: "print the JSON Schema of what -o json prints", Args: exactArgs,
		Long:    "Prints the JSON Schema of a kind of document, as its field \"kind\" names it: NodeList, TaskList and so on; also of an item: Node, Task.\n\"openapi\" prints the description of the whole admin API. It asks no node.",
		Example: "  loopmesh schema NodeList\n  loopmesh schema openapi > loopmesh.json",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			if !o.forPrograms() {
				o.format = formatJSON
			}
			if args[0] == "openapi" {
				return o.document(cmd, admin.OpenAPI())
			}
			schema, ok := admin.Schema(args[0])
			if own, is := ownDocuments[args[0]]; is {
				schema, ok = admin.SchemaOf(args[0], own)
			}
			if !ok {
				return &admin.Error{Kind: admin.NotFound, Message: fmt.Sprintf("there is no kind of document %q", args[0]), Hint: "kinds: " + strings.Join(allKinds(), ", ")}
			}
			return o.document(cmd, schema)
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return allKinds(), cobra.ShellCompDirectiveNoFileComp
		},
	}
	o.flag(cmd)
	return cmd
}
