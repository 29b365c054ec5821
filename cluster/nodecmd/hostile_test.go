package nodecmd

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// hostile is text that a terminal would obey or hide: a control character of each of the
// two sets, one that is deleted, marks that turn the direction of writing, and one that
// has no form and lies beyond the first plane.
const hostile = "a\x1b[2J\u009b2J\x7f\u202e\u2066\U000e0041z"

// steers reports whether text holds anything that a terminal would obey or hide.
func steers(text string) bool {
	return strings.ContainsAny(text, "\x1b\u009b\x7f\u202e\u2066\U000e0041")
}

// printing gives a command that prints into a buffer.
func printing() (*cobra.Command, *bytes.Buffer) {
	var out bytes.Buffer
	cmd := &cobra.Command{Use: defaultName}
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	return cmd, &out
}

// Everything that another node tells may be made to steer a terminal: not only names,
// also ids, states and versions, since a node of another program may send any text.
func TestNoFormOfOutputSteersATerminal(t *testing.T) {
	node := admin.Node{ID: hostile, State: hostile, Host: hostile, URL: hostile, Version: hostile, Go: hostile, Started: noon, Why: hostile}
	loop := admin.Loop{ID: hostile, Node: hostile, Name: hostile, State: hostile, Servers: []string{hostile}, Frame: hostile}
	for _, format := range formats {
		cmd, out := printing()
		o := &output{format: format}
		list := &admin.List[nodeStatus]{Time: noon, Items: []nodeStatus{{node, []admin.Loop{loop}}}, Partial: []admin.Missing{{ID: hostile, Error: admin.Error{Message: hostile}}}}
		if err := showStatus(cmd, o, list); err != nil || steers(out.String()) {
			t.Errorf("status -o %s: %v %q", format, err, out)
		}
		out.Reset()
		if err := printEvent(cmd, &target{output: *o}, admin.Event{ID: hostile, Node: hostile, Code: hostile, Level: hostile, Subject: hostile, Text: hostile, Why: hostile}); err != nil || steers(out.String()) {
			t.Errorf("events -f -o %s: %v %q", format, err, out)
		}
		if format == formatTable || format == formatWide || format == formatName {
			continue
		}
		out.Reset()
		if err := o.document(cmd, &admin.CallResult{Function: hostile, Result: json.RawMessage(`"` + strings.ReplaceAll(hostile, "\x1b", `\u001b`) + `"`)}); err != nil || steers(out.String()) {
			t.Errorf("document -o %s: %v %q", format, err, out)
		}
		if format == formatYAML {
			continue
		}
		var back struct{ Function, Result string }
		if err := json.Unmarshal(out.Bytes(), &back); err != nil || back.Function != hostile || back.Result != hostile {
			t.Errorf("-o %s is not the same any more: %v %q", format, err, back)
		}
	}
	var b strings.Builder
	task := admin.Task{ID: hostile, Name: hostile, State: hostile, Waits: hostile, Parent: hostile, AwaitedBy: []string{hostile + "1", hostile + "2"}, Stack: []string{hostile}}
	taskPage(&b, task, []admin.Task{task, {ID: hostile + "1", Name: hostile, Stack: []string{hostile}, AwaitedBy: []string{hostile}}})
	if steers(b.String()) {
		t.Errorf("task show: %q", b.String())
	}
}

func TestErrorsDoNotSteerATerminal(t *testing.T) {
	for _, format := range formats {
		cmd, out := printing()
		o := &output{}
		o.flag(cmd)
		if err := cmd.Flags().Set("output", format); err != nil {
			t.Fatal(err)
		}
		if code := printError(out, cmd, &admin.Error{Kind: admin.Failed, Message: hostile, Hint: hostile}); code != exitFailed || steers(out.String()) {
			t.Errorf("-o %s: %d %q", format, code, out)
		}
	}
}

// A function may return any text. As a table its result is JSON, too.
func TestAResultAndACompletionDoNotSteerATerminal(t *testing.T) {
	village(t)
	arg, err := json.Marshal(hostile)
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range formats {
		if s := loopmesh("func", "call", "test.echo", string(arg), "--on", "n2/io-0", "-o", format); s.code != exitOK || steers(s.out) || !strings.Contains(s.out, `2J`) {
			t.Errorf("-o %s: %+v", format, s)
		}
	}
	cmd := newLs()
	words, _ := suggest(cmd, func(context.Context, *admin.Client) []string {
		return []string{hostile + "\t" + hostile + "\n" + hostile}
	})
	if len(words) != 1 || steers(words[0]) || strings.Count(words[0], "\t") != 1 || strings.Contains(words[0], "\n") {
		t.Errorf("%q", words)
	}
}
