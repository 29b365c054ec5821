//go:build foreign

package main

import (
	"testing"

	"github.com/loopmesh/loopmesh/examples/internal/exampletest"
)

// TestForeignClient lets curl and a shell read the lines of both nodes, and ends a command
// by ending curl.
func TestForeignClient(t *testing.T) {
	desk := fleet(t)
	wants(t, exampletest.Output(t, "", "curl", "-sN", "-X", "POST", desk+"/run/load"), "web1: == exit 0\n", "web2: == exit 0\n", "desk: == 2 nodes, 0 failed\n")
	got := exampletest.Output(t, "", "sh", "-c", `curl -sN -X POST "$0/run/watch?seconds=0.01&on=web1" | head -n 3 | cut -d: -f1`, desk)
	if got != "web1\nweb1\nweb1\n" {
		t.Errorf("%q", got)
	}
	eventually(t, "the command ends with curl", func() bool { return watches() == 0 })
}
