package subprocess

// state is where a child and its transport are in their life. It only grows. Owned
// by the loop goroutine.
//
//	running ──exit seen──► exited ──pipes ended──► losing ──next turn──► ended
//
// Close is no state: it kills the child and closes the pipes, and the child then
// takes the same way as one that ends by itself. When the loop closes, all of it
// happens at once.
type state uint8

const (
	running state = iota // the child may be signalled
	exited               // reaped; its exit code is known, a pipe may still be open
	losing               // ConnectionLost comes in the next turn
	ended                // the protocol was told
)

func (s *subprocess) hasExited() bool { return s.state >= exited }
