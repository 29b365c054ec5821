//go:build versions

package multinode

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// programOf builds the program as one whose wire version is another one. Why by an overlay: a
// clone has no program of the version before, and a frame says its version in its first byte,
// which is all that a node of another version reads of it.
func programOf(t *testing.T, version int) string {
	t.Helper()
	dir := t.TempDir()
	original, err := filepath.Abs("../../internal/wire/frame.go")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(original)
	line := fmt.Sprintf("\nconst Version = %d\n", wire.Version)
	if err != nil || strings.Count(string(source), line) != 1 {
		t.Fatalf("%s has no line %q: %v", original, line, err)
	}
	changed, overlay := filepath.Join(dir, "frame.go"), filepath.Join(dir, "overlay.json")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {original: changed}})
	if err != nil {
		t.Fatal(err)
	}
	other := strings.Replace(string(source), line, fmt.Sprintf("\nconst Version = %d\n", version), 1)
	for path, text := range map[string]string{changed: other, overlay: string(replace)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "loopmesh")
	if out, err := exec.Command("go", "build", "-overlay", overlay, "-o", path, "github.com/loopmesh/loopmesh/cmd/node").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// TestTwoVersionsSideBySide: programs of two wire versions on one NATS are two clusters. Each
// works as if the other were not there, nobody takes a node of the other version for a member,
// and nodes go from one to the other by being started anew.
func TestTwoVersionsSideBySide(t *testing.T) {
	for _, version := range []int{wire.Version - 1, wire.Version + 1} {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
			other := programOf(t, version)
			hub := join(t, cluster.Config{Name: "hub", Listen: "127.0.0.1:0"})
			at := strings.TrimPrefix(hub.URL(), "nats://")
			boot(t, "n1", at)
			o1, o2 := bootFrom(t, other, "o1", at), bootFrom(t, other, "o2", at)
			knows := func(node string, want ...string) {
				t.Helper()
				until(t, fmt.Sprint(node, " knows ", want), func() bool { return slices.Equal(nodesOf(t, "--node", node), want) })
			}
			adds := func(from, to string, may bool) {
				t.Helper()
				out, errs, code := ask(t, "func", "call", "demo.add", "[1,2]", "--on", to+"/io-0", "--node", from)
				if (code == 0 && out == "3\n") != may {
					t.Errorf("%s calls %s: exit code %d, %s%s", from, to, code, out, errs)
				}
			}
			knows("n1", "hub", "n1")
			knows("o1", "o1", "o2")
			until(t, "frames of the other version are refused", func() bool { return hub.Stats().Malformed > 0 })
			adds("n1", "hub", false) // it has no such loop
			adds("o1", "o2", true)
			adds("o2", "o1", true)
			adds("n1", "o1", false)
			adds("o1", "n1", false)

			o1.signal(t, syscall.SIGTERM)
			if code := o1.ended(t); code != 0 {
				t.Errorf("o1 ended with %d", code)
			}
			knows("o2", "o2")
			boot(t, "o1", at)
			knows("n1", "hub", "n1", "o1")
			adds("n1", "o1", true)
			o2.signal(t, syscall.SIGTERM)
			if code := o2.ended(t); code != 0 {
				t.Errorf("o2 ended with %d", code)
			}
			boot(t, "o2", at)
			knows("o1", "hub", "n1", "o1", "o2")
			adds("o1", "o2", true)
		})
	}
}
