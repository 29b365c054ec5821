//go:build foreign

package main

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/cluster/drain"
)

// TestNodeJS: two users in Node.js, with the client that browsers use; the node of one is
// drained in the middle of 200 messages. Each is accepted and comes once.
func TestNodeJS(t *testing.T) {
	w := openTown(t, 2, func(l *limits) { l.spread = 100 * time.Millisecond })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "--experimental-websocket", "--no-warnings", "testdata/talk.mjs", "ws://"+w.at("n1"), "ws://"+w.at("n2"))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewScanner(out)
	want := func(text string) {
		t.Helper()
		if !lines.Scan() || lines.Text() != text {
			t.Fatalf("it says %q, want %q", lines.Text(), text)
		}
	}
	want("alice in lobby: hello")
	want("half")
	must(t, w.gates["n2"].goAway(time.Now().Add(10*time.Second)))
	must(t, drain.Node(ctx, w.Node("n2"), drain.Limit(drain.Connections, 10*time.Second)))
	want("200 accepted, 200 came, 0 twice")
	want("away 1001, open")
	must(t, cmd.Wait())
}
