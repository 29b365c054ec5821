package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/internal/leaktest"
)

// asGateway as the first argument makes the test binary a gateway.
const asGateway = "as-gateway"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == asGateway {
		os.Args = os.Args[1:]
		main()
		return
	}
	goleak.VerifyTestMain(leaktest.Late{M: m})
}

// TestCommandLines: what makes no sense is refused before anything starts.
func TestCommandLines(t *testing.T) {
	for line, says := range map[string]string{
		"-handover /tmp/x": "-handover needs -join",
		"127.0.0.1:9000":   "no arguments but flags",
		"-cert /nowhere":   "no such file",
		"-key /nowhere":    "no such file",
		"-spread soon":     "invalid value",
		"-nonsense":        "not defined",
	} {
		if _, _, err := flags(strings.Fields(line), io.Discard); !strings.Contains(fmt.Sprint(err), says) {
			t.Errorf("%s: %v; want %q", line, err, says)
		}
	}
	node, cfg, err := flags(strings.Fields("-join a:1,b:2 -origin https://a.example,https://b.example -handover /tmp/x -name n1"), io.Discard)
	if err != nil || fmt.Sprintf("%q %q %q %q %q", node.Join, cfg.origins, cfg.handover, node.Name, node.Listen) != `["a:1" "b:2"] ["https://a.example" "https://b.example"] "/tmp/x" "n1" ""` {
		t.Errorf("%v %v %v", node.Join, cfg, err)
	}
}
