package transportactors

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/loopmesh/loopmesh/transportactors/internal/testkit"
)

// programs are started by the tests of this package as children, besides those
// of testkit.
var programs = map[string]func(args []string){
	// loop-cat is cat on a loop.
	"loop-cat": func([]string) {
		if err := loopCat(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	},
	// echo-loop, echo-net and exhausted are servers.
	"echo-loop":      func([]string) { sayFault(echoOnLoop(tellTimes)) },
	"echo-net":       func([]string) { sayFault(echoOnNet(tellTimes)) },
	"echo-loop-late": func([]string) { sayFault(echoOnLoop(newLateSleeper().tell)) },
	"echo-net-late":  func([]string) { sayFault(echoOnNet(newLateSleeper().tell)) },
	"exhausted":      func([]string) { sayFault(exhausted()) },
}

func command(t testing.TB, args ...string) *exec.Cmd { t.Helper(); return testkit.Command(t, args...) }
