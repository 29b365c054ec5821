package testkit

import (
	"fmt"
	"net"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// Main runs the tests of a package and fails when goroutines or descriptors are
// left over. As a child it runs the program it is asked for; programs are those
// of the package besides the ones here.
func Main(m *testing.M, programs map[string]func(args []string)) {
	if len(os.Args) > 1 && os.Args[1] == asChild {
		childMain(os.Args[2:], programs)
	}
	goleak.VerifyTestMain(counted{m})
}

// counted fails the run when descriptors are left over.
type counted struct{ m *testing.M }

func (c counted) Run() int {
	if ln, err := net.Listen("tcp", "127.0.0.1:0"); err == nil { // the runtime's own poller exists from here on
		_ = ln.Close()
	}
	before := Descriptors()
	code := c.m.Run()
	if after := Descriptors(); code == 0 && after > before {
		fmt.Fprintf(os.Stderr, "%d descriptors before the tests, %d after\n", before, after)
		return 1
	}
	return code
}

// Descriptors is how many this process has open; 0 where the system does not tell.
func Descriptors() int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(list)
}
