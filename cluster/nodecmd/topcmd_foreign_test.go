//go:build foreign

package nodecmd

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestTopInATerminal drives the real program in the terminal of tmux: it shows the
// cluster, looks into a loop, closes the connection of a real client after a question,
// and leaves the terminal as it was.
func TestTopInATerminal(t *testing.T) {
	addresses := village(t)
	program := filepath.Join(t.TempDir(), "loopmesh")
	if out, err := exec.Command("go", "build", "-o", program, "github.com/loopmesh/loopmesh/cmd/loopmesh").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	name := filepath.Join(t.TempDir(), "tmux")
	tmux := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("tmux", append([]string{"-S", name, "-f", "/dev/null"}, args...)...)
		cmd.Env = append(os.Environ(), "TERM=xterm-256color")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("tmux %q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	tmux("new-session", "-d", "-x", "160", "-y", "30", "sh -c 'echo before; "+program+" top --node n1; echo after; read line'")
	t.Cleanup(func() { _ = exec.Command("tmux", "-S", name, "kill-server").Run() })
	sees := func(parts ...string) {
		t.Helper()
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		limit := time.After(patience)
		for {
			text, all := tmux("capture-pane", "-p"), true
			for _, p := range parts {
				all = all && strings.Contains(text, p)
			}
			if all {
				return
			}
			select {
			case <-tick.C:
			case <-limit:
				t.Fatalf("it does not show %q but\n%s", parts, text)
			}
		}
	}
	sees("[1 nodes]", "n1", "n3", "asked", "3 of 3")
	tmux("send-keys", "2")
	sees("[2 loops]", "n2/io-0", "LAG P99", "9 of 9")
	a, b := dial(t, addresses[0]), dial(t, addresses[1])
	peer := a.LocalAddr().String()
	tmux("send-keys", "4")
	sees("[4 conns]", peer)
	tmux("send-keys", "/")
	tmux("send-keys", "-l", peer)
	tmux("send-keys", "Enter", "x")
	sees("close n1/chat/transports/", "y does it")
	tmux("send-keys", "y")
	for a.in.Scan() { // until the end of the connection
	}
	sees("asked for", "0 of")
	b.say(t, "still here")
	tmux("send-keys", "q")
	sees("before", "after")
}
