package nodecmd

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// What is on a loop, as groups of the tree. A group's line says how many there are and
// what is worth knowing of all of them together: where its servers listen, which protocols
// its connections speak, what its tasks wait in. With --depth 4 the things themselves
// stand below it.

// Why these five and in this order? It is the way that data takes: a server takes a
// connection, a child is another program at the end of a pipe, an actor is an address for any
// of them, and tasks do the work. What has no line is not there, or its loop did not say.
// kinds are the groups of a loop; a kind of which there is none has no line.
func (l *landscape) kinds(loop string, depth int) []treeItem {
	out := []treeItem{}
	for _, g := range []treeItem{l.servingItems(loop), l.connItems(loop), l.procItems(loop), l.actorItems(loop), l.taskItems(loop)} {
		if g.Count == 0 {
			continue
		}
		if depth < depthThings {
			g.Below = []treeItem{}
		} else {
			g.Text, _, _ = strings.Cut(g.Text, ": ")
		}
		out = append(out, g)
	}
	return out
}

// Names of loops repeat on every node, so a loop is known by node and name together. Actors
// are told by their node's system and not by their loop; they name the loop they run on.
// of are the items that are on a loop.
func of[T any](all []T, loop string, on func(T) string) (out []T) {
	for _, item := range all {
		if on(item) == loop {
			out = append(out, item)
		}
	}
	return out
}

// The text of a group is made in one place, so that all of them read alike: how many, of what,
// and behind a colon what is common to them. With the things themselves below it the part
// behind the colon would repeat them, and is cut off.
// summed is a group with its things: "3 servers: detail".
func summed(kind, what, detail string, things []treeItem) treeItem {
	g := groupItem(kind, len(things), plural(len(things), what)+ifText(detail != "", ": "+detail))
	g.Below = things
	return g
}

// thing is one thing with nothing below it.
func thing(kind, id, text string) treeItem {
	return treeItem{Kind: kind, ID: id, Text: text, Below: []treeItem{}}
}

func (l *landscape) servingItems(loop string) treeItem {
	var at []string
	var things []treeItem
	for _, s := range of(l.servers, loop, func(s admin.Listener) string { return s.Node + "/" + s.Loop }) {
		at = append(at, s.Addresses...)
		things = append(things, thing("server", s.ID, strings.Join(s.Addresses, " ")+ifText(!s.Serving, "  not serving")+ifText(s.Failed > 0, fmt.Sprintf("  %d failed", s.Failed))))
	}
	return summed("servers", "server", strings.Join(at, ", "), things)
}

func (l *landscape) connItems(loop string) treeItem {
	protocols, unsent := tally{}, 0
	var things []treeItem
	for _, c := range of(l.conns, loop, func(c admin.Conn) string { return c.Node + "/" + c.Loop }) {
		protocols.count(c.Protocol)
		unsent += c.WriteBuffer
		things = append(things, thing("connection", c.ID, cmp.Or(c.Peer, c.Local, "-")+"  "+c.Protocol+ifText(c.WriteBuffer > 0, fmt.Sprintf("  %d bytes wait", c.WriteBuffer))))
	}
	return summed("connections", "connection", protocols.text()+ifText(unsent > 0, fmt.Sprintf("; %d bytes wait", unsent)), things)
}

func (l *landscape) procItems(loop string) treeItem {
	programs := tally{}
	var things []treeItem
	for _, p := range of(l.procs, loop, func(p admin.Child) string { return p.Node + "/" + p.Loop }) {
		programs.count(strings.Join(p.Args[:min(len(p.Args), 1)], ""))
		things = append(things, thing("process", p.ID, strings.Join(p.Args, " ")+"  "+childState(p)))
	}
	return summed("processes", "child process", programs.text(), things)
}

func (l *landscape) actorItems(loop string) treeItem {
	queued := 0
	var things []treeItem
	for _, a := range of(l.actors, loop, func(a admin.Actor) string { return a.Node + "/" + a.Loop }) {
		queued += a.Queued
		things = append(things, thing("actor", a.ID, a.ID+ifText(a.Queued > 0, fmt.Sprintf("  %d queued", a.Queued))+ifText(a.RestartDue, "  restarting")))
	}
	return summed("actors", "actor", ifText(queued > 0, plural(queued, "message")+" queued"), things)
}

// taskItems are the tasks of a loop, each below the one that made it. One whose maker has
// ended stands at the top. Makers are older than what they made, so there is no circle
// among them; what comes from another node is not trusted to know that, and a task that
// was met is not followed again.
func (l *landscape) taskItems(loop string) treeItem {
	tasks := of(l.tasks, loop, func(t admin.Task) string { return t.Node + "/" + t.Loop })
	waits, made, known := tally{}, map[string][]admin.Task{}, map[string]bool{}
	for _, t := range tasks {
		known[t.ID] = true
		waits.count(ifText(t.Circle, "CIRCLE ") + cmp.Or(t.Waits, t.State))
	}
	for _, t := range tasks {
		if t.Parent == t.ID || !known[t.Parent] {
			t.Parent = ""
		}
		made[t.Parent] = append(made[t.Parent], t)
	}
	met := map[string]bool{}
	var below func(maker string) []treeItem
	below = func(maker string) []treeItem {
		out := []treeItem{}
		for _, t := range made[maker] {
			if met[t.ID] {
				continue
			}
			met[t.ID] = true
			out = append(out, treeItem{Kind: "task", ID: t.ID, Text: taskText(t), Below: below(t.ID)})
		}
		return out
	}
	g := groupItem("tasks", len(tasks), plural(len(tasks), "task")+": "+waits.text())
	g.Below = below("")
	return g
}

// A task's line is what 'ps' prints in its columns, in words: its name, what it waits in, for
// how long at least, and the line of the program where it does.
// taskText is the line of a task.
func taskText(t admin.Task) string {
	return t.ID + "  " + t.Name + "  " + taskState(t) + ifText(t.Waits != "", " in "+t.Waits) + ifText(waitedFor(t) != "", " for "+waitedFor(t)) + ifText(placeOf(t) != "", "  at "+placeOf(t))
}

// ifText is text when it applies.
func ifText(applies bool, text string) string {
	if applies {
		return text
	}
	return ""
}

// tally counts words.
type tally map[string]int

func (t tally) count(word string) { t[cmp.Or(word, "-")]++ }

// A gateway has thousands of connections of one protocol, a broken program has one of each of
// a hundred. The most frequent ones tell the two apart, and fit into a line.
// talliesShown is how many words a line has room for.
const talliesShown = 3

// text is the most frequent words, the most frequent first, and how many others.
func (t tally) text() string {
	words := slices.SortedFunc(maps.Keys(t), func(a, b string) int { return cmp.Or(cmp.Compare(t[b], t[a]), strings.Compare(a, b)) })
	var out []string
	for i, w := range words {
		if i == talliesShown {
			return strings.Join(append(out, "and "+plural(len(words)-i, "more kind")), ", ")
		}
		out = append(out, fmt.Sprintf("%d %s", t[w], w))
	}
	return strings.Join(out, ", ")
}
