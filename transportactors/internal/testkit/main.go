package testkit

import (
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/internal/leaktest"
)

// Main runs the tests of a package and fails when goroutines or descriptors are
// left over. As a child it runs the program it is asked for; programs are those
// of the package besides the ones here.
func Main(m *testing.M, programs map[string]func(args []string)) {
	if len(os.Args) > 1 && os.Args[1] == asChild {
		childMain(os.Args[2:], programs)
	}
	goleak.VerifyTestMain(leaktest.Late{M: counted{m}})
}

// counted fails the run when descriptors are left over.
type counted struct{ m *testing.M }

// closeTime is how long descriptors may take to be closed when the last test has ended: some are
// by goroutines that end then, and the machine may be busy.
const closeTime = 10 * time.Second

func (c counted) Run() int {
	if ln, err := net.Listen("tcp", "127.0.0.1:0"); err == nil { // the runtime's own poller exists from here on
		_ = ln.Close()
	}
	before := Descriptors()
	code := c.m.Run()
	after := Descriptors()
	for end := time.Now().Add(closeTime); after > before && time.Now().Before(end); after = Descriptors() {
		<-time.After(closeTime / 1000)
	}
	if code == 0 && after > before {
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
