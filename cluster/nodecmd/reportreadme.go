package nodecmd

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// The first page of a report. Whoever opens the archive may know nothing of the cluster: it
// says what was asked of whom and when, who did not answer, what 'loopmesh check' finds wrong,
// and what each file is. A reader should not have to open a second file to know where to look.

// judge has check's findings in the report, with the limits that check has by default.
func (r *report) judge(ctx context.Context) {
	r.part(ctx, "findings.json", func(ctx context.Context) (any, error) {
		seen, err := lookFor(ctx, r.client)
		if err != nil {
			return nil, err
		}
		r.findings = &admin.List[finding]{Kind: "FindingList", APIVersion: admin.APIVersion, Time: seen.nodes.Time, Items: judge(seen, usualLimits())}
		return r.findings, nil
	})
}

// whatFilesAre are the files of a report by their names, NODE for any node.
var whatFilesAre = map[string]string{
	"findings.json": "what 'loopmesh check' finds wrong, with codes and what to do", "nodes.json": "the nodes, with those that died and those that left",
	"loops.json": "the loops, each measured for a moment: how busy, how late", "tasks.json": "the tasks: what each waits for, since when, with its whole stack",
	"conns.json": "the connections: bytes, buffers, whose peer does not read", "servers.json": "what takes connections",
	"procs.json": "the child processes, without their arguments", "actors.json": "the actors: what waits in their mailboxes", "funcs.json": "the functions that can be called",
	"traffic.json": "what nodes have sent to each other", "calls.json": "calls that wait for their answers", "events.json": "what has happened, as far as nodes keep it, oldest first",
	"health.json": "clocks, voters, keys, descriptors, disks of each node", "settings.json": "what each node was started with, and where each value comes from",
	"streams.json": "the streams of the store, who leads and who follows", "names.json": "names and their owners", "timers.json": "durable calls for later",
	"commands.json": "durable commands that wait or run", "dead-letters.json": "commands that failed as often as they may", "metrics.txt": "the metrics of the node that was asked, as Prometheus reads them",
	"nodes/NODE/log.txt": "the last lines of the node's log", "nodes/NODE/log-levels.json": "from which level on its modules log", "nodes/NODE/stacks.txt": "where all goroutines of its process are",
	"errors.txt": "parts that could not be had, and why",
}

// A node's files have the same names for each node; one line explains all of them.
//
// fileOf is the name in whatFilesAre of a file.
func fileOf(name string) string {
	if rest, ok := strings.CutPrefix(name, "nodes/"); ok {
		_, file, _ := strings.Cut(rest, "/")
		return "nodes/NODE/" + file
	}
	return name
}

// Secrets are taken out of it as out of every other file: the texts of errors and findings
// hold names that programs have chosen.
//
// readme is the first file that somebody opens.
func (r *report) readme() []byte {
	version, goVersion := admin.Version()
	var b strings.Builder
	fmt.Fprintf(&b, "A report of a loopmesh cluster, made at %s by version %s, %s.\n", r.now.Format(time.RFC3339), version, goVersion)
	fmt.Fprintf(&b, "\nWho was asked\n\nThe node at %s was asked, and every member through it. All times are those of the nodes.\n\n", r.asked)
	for _, n := range r.nodes {
		fmt.Fprintf(&b, "  %s  %s", n.ID, n.State)
		if n.State == admin.Ready {
			fmt.Fprintf(&b, "  version %s, %s, host %s, pid %d, incarnation %s", n.Version, n.Go, n.Host, n.PID, n.Incarnation)
		}
		if n.Draining {
			b.WriteString("  is being drained")
		}
		if n.Why != "" {
			b.WriteString("  " + n.Why)
		}
		b.WriteString("\n")
	}
	b.WriteString("\nWho did not answer\n\n" + r.whoDidNot())
	b.WriteString("\nWhat check finds\n\n" + r.found())
	b.WriteString("\nWhat is in it\n\n")
	listed := map[string]bool{}
	files := r.files
	if len(r.missing) > 0 {
		files = append(files[:len(files):len(files)], reportFile{name: "errors.txt"})
	}
	for _, f := range files {
		if name := fileOf(f.name); !listed[name] {
			listed[name] = true
			fmt.Fprintf(&b, "  %-28s %s\n", name, whatFilesAre[name])
		}
	}
	b.WriteString("\nFiles in JSON are documents of the admin API: 'loopmesh schema KIND' describes them, and 'loopmesh explain CODE' the codes.\n" +
		"What looks like a password, a token or a key was replaced by " + removed + ", and the arguments of child processes were left out.\n" +
		"Of the configuration only settings.json is here: no environment, no file of keys.\n")
	return []byte(redact(b.String()))
}

// Two lists meet here: parts that could not be had at all, and nodes that the list of nodes
// itself says nothing about, because they are silent or have died.
//
// whoDidNot names the parts that could not be had, and the nodes that are missing in lists.
func (r *report) whoDidNot() string {
	var b strings.Builder
	for _, m := range r.missing {
		fmt.Fprintf(&b, "  %s  %s\n", m.ID, firstLineOf(m.Error.Message))
	}
	for _, m := range r.silent {
		fmt.Fprintf(&b, "  %s  %s\n", m.ID, firstLineOf(m.Error.Message))
	}
	if b.Len() == 0 {
		return "  Everybody answered.\n"
	}
	return b.String()
}

// firstLineOf is a text up to its first line break.
func firstLineOf(text string) string {
	first, _, _ := strings.Cut(text, "\n")
	return first
}

// The same text as on the page of check: who reads the report looks the codes up there.
//
// found is the page of check.
func (r *report) found() string {
	switch {
	case r.findings == nil:
		return "  It could not be asked: see above.\n"
	case len(r.findings.Items) == 0:
		return "  Nothing.\n"
	}
	var b strings.Builder
	for _, f := range r.findings.Items {
		fmt.Fprintf(&b, "  %-5s  %s  %s %s\n         do: %s\n", strings.ToUpper(f.Level), f.Code, f.ID, firstLineOf(f.Text), f.Do)
	}
	return b.String()
}
