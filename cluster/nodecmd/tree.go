package nodecmd

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// What runs where, on one page: the cluster, its nodes, their loops, and what lives on
// each. The lists say the same, one kind of thing at a time; a person who looks at a
// cluster for the first time does not know yet which of them to ask for.
//
// The questions are put at the same time, and what they bring is joined by ids: a task
// belongs to the loop that its id names. They are answers of one moment each and not of
// the same one, so a connection may stand in the tree whose server is gone already.
//
// Invariant: a node or a loop that did not answer has a line that says so, and makes the
// exit code 4. What is not shown because of --depth is counted.

// Why one shape for all levels and not a type for each kind? Whoever reads the document
// walks it with one function, whatever is added between two levels later; the kind says what
// a line stands for, the id is for the other commands, and the text is what a person reads.
// Everything that is in the text is in the lists of those commands, too, as fields.
// treeItem is one line of the tree and what is below it: the document of tree in JSON.
type treeItem struct {
	// Cluster, node, loop, tasks, task, servers, server and so on.
	Kind string `json:"kind"`
	// As inspect takes it; absent for a group.
	ID string `json:"id,omitempty"`
	// Of the whole line, for people.
	Text string `json:"text"`
	// Of a group: how many it has.
	Count int        `json:"count,omitempty"`
	Below []treeItem `json:"below"`
}

// tree is the document.
type tree struct {
	Kind       string          `json:"kind"`
	APIVersion string          `json:"apiVersion"`
	Time       time.Time       `json:"time"`
	Root       treeItem        `json:"root"`
	Partial    []admin.Missing `json:"partial,omitempty"`
}

// Depths of the tree.
const (
	depthNodes  = 1
	depthLoops  = 2
	depthKinds  = 3 // what is on a loop, counted
	depthThings = 4 // each of them
)

const treeLong = `Shows the nodes of the cluster, their loops, and what is on each loop: servers, connections, child processes, actors and tasks.
  --depth 1  nodes
  --depth 2  and loops
  --depth 3  and how many of what is on each loop (default)
  --depth 4  and each of them; a task stands below the one that made it
NODE shows one node. Exit code 4 when a node or a loop does not answer.`

// What should a deep tree cost? At depth 1 nothing but the list of nodes. Each depth more
// asks more of every loop; at depth 3 each task is woken for a moment to say where it waits,
// as for ps. So the default stops at counts: they fit on a page for a hundred connections as
// for ten thousand.
// newTree asks for everything that the depth needs and no more: a loop with thousands of
// tasks has to wake each of them to tell of it.
func newTree() *cobra.Command {
	var o target
	depth := depthKinds
	cmd := &cobra.Command{
		Use: "tree [NODE]", Short: "show what runs where, as a tree", Long: treeLong,
		Example: "  loopmesh tree\n  loopmesh tree n2 --depth 4\n  loopmesh tree -o json | jq '.root.below[].id'",
		Args:    oneNodeAtMost,
		RunE: func(cmd *cobra.Command, args []string) error {
			if depth < depthNodes || depth > depthThings {
				return usageError{fmt.Errorf("--depth is %d; give %d (nodes) to %d (everything)", depth, depthNodes, depthThings)}
			}
			seen, err := ask(cmd, &o, func(ctx context.Context, c *admin.Client) (*landscape, error) { return lookAround(ctx, c, depth) })
			if err != nil {
				return err
			}
			if err := seen.keep(args); err != nil {
				return err
			}
			if err := showTree(cmd, &o.output, seen.tree(depth)); err != nil {
				return err
			}
			if len(seen.partial) > 0 && !o.allowPartial {
				return &partialError{seen.partial}
			}
			return nil
		},
		ValidArgsFunction: suggestNodes,
	}
	o.flags(cmd)
	cmd.Flags().BoolVar(&o.allowPartial, "allow-partial", false, "exit with 0 although some nodes or loops do not answer")
	cmd.Flags().IntVar(&depth, "depth", depthKinds, "how far down: 1 nodes, 2 loops, 3 what is on them, 4 each of it")
	return cmd
}

// A command about nodes takes none for all of them, or one; two are refused and not cut to the
// first, since a script that gives two means both.
// oneNodeAtMost is the Args of commands about one node or all.
func oneNodeAtMost(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usageError{fmt.Errorf("%s takes one node, got %d", cmd.CommandPath(), len(args))}
	}
	return nil
}

// landscape is what the lists say, before it is a tree.
type landscape struct {
	time    time.Time
	nodes   []admin.Node
	loops   []admin.Loop
	tasks   []admin.Task
	conns   []admin.Conn
	servers []admin.Listener
	procs   []admin.Child
	actors  []admin.Actor
	partial []admin.Missing
}

// A question is a task on each loop for a moment. Those that count tasks are put alone, so
// that looking does not show itself; the others at the same time: each survey may use a
// third of the time that is left, and one after another the last ones would have little.
//
// lookAround puts the questions that depth needs.
func lookAround(ctx context.Context, c *admin.Client, depth int) (*landscape, error) {
	var nodes admin.List[admin.Node]
	var loops admin.List[admin.Loop]
	var tasks admin.List[admin.Task]
	var conns admin.List[admin.Conn]
	var servers admin.List[admin.Listener]
	var procs admin.List[admin.Child]
	var actors admin.List[admin.Actor]
	first := []asking{take(&nodes, func() (*admin.List[admin.Node], error) { return c.Nodes(ctx) })}
	if depth >= depthKinds {
		first = append(first,
			take(&conns, func() (*admin.List[admin.Conn], error) { return c.Conns(ctx) }),
			take(&servers, func() (*admin.List[admin.Listener], error) { return c.Servers(ctx) }),
			take(&procs, func() (*admin.List[admin.Child], error) { return c.Children(ctx) }),
			take(&actors, func() (*admin.List[admin.Actor], error) { return c.Actors(ctx) }))
	}
	partial, err := together(first...)
	if depth >= depthLoops && err == nil {
		var more []admin.Missing
		more, err = together(take(&loops, func() (*admin.List[admin.Loop], error) { return c.Loops(ctx) }))
		partial = append(partial, more...)
	}
	if depth >= depthKinds && err == nil {
		var more []admin.Missing
		more, err = together(take(&tasks, func() (*admin.List[admin.Task], error) { return c.Tasks(ctx, 1) }))
		partial = append(partial, more...)
	}
	return &landscape{nodes.Time, nodes.Items, loops.Items, tasks.Items, conns.Items, servers.Items, procs.Items, actors.Items, eachOnce(partial)}, err
}

// asking puts a question and gives who did not answer.
type asking func() ([]admin.Missing, error)

// take puts a question and keeps the answer.
func take[T any](into *admin.List[T], question func() (*admin.List[T], error)) asking {
	return func() ([]admin.Missing, error) {
		list, err := question()
		if err != nil {
			return nil, err
		}
		*into = *list
		return list.Partial, nil
	}
}

// together puts questions at the same time, waits for all, and gives who did not answer any
// of them, and the first error.
func together(all ...asking) (partial []admin.Missing, err error) {
	missing, errs := make([][]admin.Missing, len(all)), make([]error, len(all))
	var work sync.WaitGroup
	for i, question := range all {
		// goroutine: owner: together, which waits for it; ends with its answer or with its ctx
		work.Go(func() { missing[i], errs[i] = question() })
	}
	work.Wait()
	for i := range all {
		partial, err = append(partial, missing[i]...), cmp.Or(err, errs[i])
	}
	return partial, err
}

// A silent loop is missing in five lists, for five reasons that are one. The first is kept.
// eachOnce leaves the first entry of each id: a silent loop is missing in every list.
func eachOnce(all []admin.Missing) (out []admin.Missing) {
	slices.SortStableFunc(all, func(a, b admin.Missing) int { return strings.Compare(a.ID, b.ID) })
	for _, m := range all {
		if len(out) == 0 || out[len(out)-1].ID != m.ID {
			out = append(out, m)
		}
	}
	return out
}

// A node that was named and is not there is an error, with those that are: an empty tree
// would be read as a node on which nothing runs. The silence of another node is left out, so
// that it does not decide the exit code of a question that is not about it.
// keep leaves the node that was named, and what is missing of it.
func (l *landscape) keep(args []string) error {
	if len(args) == 0 {
		return nil
	}
	var known []string
	for _, n := range l.nodes {
		known = append(known, n.ID)
	}
	if !slices.Contains(known, args[0]) {
		return &admin.Error{Kind: admin.NotFound, Message: fmt.Sprintf("no node %q in the cluster", args[0]), Hint: "nodes: " + strings.Join(known, ", ")}
	}
	l.nodes = slices.DeleteFunc(l.nodes, func(n admin.Node) bool { return n.ID != args[0] })
	l.partial = slices.DeleteFunc(l.partial, func(m admin.Missing) bool { return nodeOf(m.ID) != args[0] })
	return nil
}

// nodeOf is the node in an id.
func nodeOf(id string) string {
	node, _, _ := strings.Cut(id, "/")
	return node
}

// tree joins the lists.
func (l *landscape) tree(depth int) *tree {
	root := groupItem("cluster", len(l.nodes), plural(len(l.nodes), "node"))
	for _, n := range l.nodes {
		item := treeItem{Kind: "node", ID: n.ID, Text: l.nodeText(n), Below: []treeItem{}}
		if depth >= depthLoops {
			item.Below = l.loopItems(n, depth)
		}
		root.Below = append(root.Below, item)
	}
	return &tree{Kind: "Tree", APIVersion: admin.APIVersion, Time: l.time, Root: root, Partial: l.partial}
}

// groupItem is a line that stands for several things.
func groupItem(kind string, count int, text string) treeItem {
	return treeItem{Kind: kind, Count: count, Text: text, Below: []treeItem{}}
}

// plural counts things in words.
func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	if before, found := strings.CutSuffix(what, "ss"); found {
		return strconv.Itoa(n) + " " + before + "sses"
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// The line has what tells one node from another at a glance: since when it runs, how much of
// it there is, and which process on which machine it is, for whoever has to go there.
// nodeText is the line of a node. One that did not answer has no numbers: zeros would
// look like an idle node.
func (l *landscape) nodeText(n admin.Node) string {
	text := n.ID + "  " + n.State
	if n.Started.IsZero() {
		if note := noteOf(n, l.time); note != "" {
			text += "  " + note
		}
		return text
	}
	text += fmt.Sprintf("  %s  %s  pid %d on %s", age(l.time.Sub(n.Started)), plural(n.Loops, "loop"), n.PID, cmp.Or(n.Host, "-"))
	if n.Self {
		text += "  (asked)"
	}
	return text
}

// A loop that is blocked is in the list of loops, as its node sees it from outside, and among
// those that did not answer. It has one line, which says where it is stuck. One that is only
// silent is known by its name alone.
// loopItems are the loops of a node, those that did not answer as well.
func (l *landscape) loopItems(n admin.Node, depth int) []treeItem {
	out := []treeItem{}
	for _, loop := range l.loops {
		if loop.Node != n.ID {
			continue
		}
		item := treeItem{Kind: "loop", ID: loop.ID, Text: loopText(loop, depth), Below: []treeItem{}}
		if depth >= depthKinds {
			item.Below = l.kinds(loop.ID, depth)
		}
		out = append(out, item)
	}
	for _, m := range l.partial {
		shown := slices.ContainsFunc(out, func(t treeItem) bool { return t.ID == m.ID })
		if nodeOf(m.ID) == n.ID && strings.Contains(m.ID, "/") && !shown {
			out = append(out, treeItem{Kind: "loop", ID: m.ID, Text: strings.TrimPrefix(m.ID, n.ID+"/") + "  does not answer: " + m.Error.Message, Below: []treeItem{}})
		}
	}
	slices.SortStableFunc(out, func(a, b treeItem) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// loopText is the line of a loop. Where the tree ends with it, it counts what is on it.
func loopText(l admin.Loop, depth int) string {
	if l.State == admin.Blocked {
		return fmt.Sprintf("%s  BLOCKED for %s in %s", l.Name, age(time.Duration(l.BlockedMS)*time.Millisecond), cmp.Or(l.Frame, "-"))
	}
	text := l.Name + "  " + cmp.Or(l.State, admin.Running)
	if depth == depthLoops {
		text += "  " + plural(l.Tasks, "task") + "  " + plural(l.Conns, "connection")
	}
	if l.Queue > 0 {
		text += "  " + plural(l.Queue, "callback") + " queued"
	}
	return text
}

// As names it prints the ids alone, from the top down, for xargs: nodes, loops and things are
// all taken by 'inspect'. Groups have no id and no line there.
// showTree prints the tree; as JSON it is one document, as names the ids in it.
func showTree(cmd *cobra.Command, o *output, t *tree) error {
	switch {
	case o.forPrograms():
		return o.document(cmd, t)
	case o.format == formatName:
		return t.Root.names(cmd.OutOrStdout())
	}
	var b strings.Builder
	b.WriteString(printable(t.Root.Text) + "\n")
	t.Root.draw(&b, "")
	_, err := io.WriteString(cmd.OutOrStdout(), b.String())
	return err
}

// The characters that draw the branches are three columns wide each, so a line's depth can be
// seen without counting. There is no colour: the same page goes into files and into mails.
// draw writes the lines below an item. The lines are text of other nodes and go through
// printable; what joins them does not.
func (t *treeItem) draw(b *strings.Builder, indent string) {
	for i := range t.Below {
		branch, next := "├─ ", "│  "
		if i == len(t.Below)-1 {
			branch, next = "└─ ", "   "
		}
		b.WriteString(indent + branch + printable(t.Below[i].Text) + "\n")
		t.Below[i].draw(b, indent+next)
	}
}

// names writes the ids, one a line.
func (t *treeItem) names(w io.Writer) error {
	if t.ID != "" {
		if _, err := fmt.Fprintln(w, printable(t.ID)); err != nil {
			return err
		}
	}
	for i := range t.Below {
		if err := t.Below[i].names(w); err != nil {
			return err
		}
	}
	return nil
}
