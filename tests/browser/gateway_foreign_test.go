//go:build foreign

package browser

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestGatewayPage: two people with the page of examples/gateway, each at a node of their
// own, write to each other; the node of one goes away, and the page is at the other node.
func TestGatewayPage(t *testing.T) {
	program := filepath.Join(t.TempDir(), "gateway")
	if out, err := exec.Command("go", "build", "-o", program, "../../examples/gateway").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	first, join, _ := startGateway(t, program, "-address", "127.0.0.1:0")
	second, _, leave := startGateway(t, program, "-address", "127.0.0.1:0", "-spread", "100ms", "-join", join, "-origin", "http://"+first)
	alice := open(t, "http://"+first+"/?user=alice")
	bob := open(t, fmt.Sprintf("http://%s/?user=bob&nodes=ws://%s,ws://%s", first, second, first))
	for _, p := range []*page{alice, bob} {
		p.until("it is connected", `document.getElementById("state").innerText.startsWith("open")`)
	}
	submit := func(p *page, form string, fields map[string]string) {
		t.Helper()
		for name, value := range fields {
			js[bool](p, `(document.querySelector($1).value = $2, true)`, "#"+form+" [name="+name+"]", value)
		}
		js[bool](p, `(document.querySelector($1).click(), true)`, "#"+form+" button")
	}
	submit(alice, "watch", map[string]string{"user": "bob"})
	alice.until("bob is online", `document.getElementById("online").innerText === "bob: online"`)
	submit(alice, "send", map[string]string{"to": "bob", "text": "<b>hello</b>"})
	bob.until("the message is there, as text", `document.getElementById("came").innerText.includes("alice: <b>hello</b>")`)
	alice.until("it was accepted", `document.getElementById("came").innerText.includes("bob has: <b>hello</b>")`)

	before := bob.text("#state")
	leave()
	bob.until("bob is somewhere else", `document.getElementById("state").innerText.startsWith("open") && document.getElementById("state").innerText !== $1`, before)
	submit(alice, "send", map[string]string{"to": "bob", "text": "still there?"})
	bob.until("the message is there", `document.getElementById("came").innerText.includes("alice: still there?")`)
}

// startGateway runs the program, and gives where clients and nodes connect; leave ends it.
func startGateway(t *testing.T, program string, args ...string) (clients, nodes string, leave func()) {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	for _, what := range []struct {
		prefix string
		value  *string
	}{{"clients: ", &clients}, {"nodes: ", &nodes}} {
		if !lines.Scan() || !strings.HasPrefix(lines.Text(), what.prefix) {
			t.Fatalf("it says %q, want %s", lines.Text(), what.prefix)
		}
		*what.value = strings.TrimPrefix(lines.Text(), what.prefix)
	}
	return clients, nodes, func() {
		t.Helper()
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
}
