// Package leaktest gives the last goroutines of a package's tests the time to end.
//
// Why: goleak looks twenty times within half a second, and some goroutines end behind the
// last test, as those of a server that was shut down. On a machine that is busy they take longer,
// and then all tests have passed and the run fails. What really leaks is still there later.
package leaktest

import (
	"time"

	"go.uber.org/goleak"
)

// patience is how long the goroutines may take to end.
const patience = 10 * time.Second

// Late is a *testing.M for goleak.VerifyTestMain, which looks when Run has returned:
//
//	func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: m}) }
type Late struct{ M goleak.TestingM }

// Run runs the tests, then waits until no goroutine of theirs is left, or for ten seconds.
func (l Late) Run() int {
	code := l.M.Run()
	for end := time.Now().Add(patience); code == 0 && goleak.Find() != nil && time.Now().Before(end); {
		continue // Find waits between its looks
	}
	return code
}
