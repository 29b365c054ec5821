// Package report names the kinds of what a loop reports to its exception handler
// (loopnode.ExceptionContext.Kind), so that a handler need not read texts.
package report

// Kind says what a report is about.
type Kind uint8

// The kinds of reports.
const (
	// Other is what programs report themselves without a kind.
	Other Kind = iota
	// Callback failed: one that was scheduled, a timer, a done callback, a close
	// hook, or a function sent to the loop.
	Callback
	// Unretrieved is the failure of a future or task that nobody has looked at.
	Unretrieved
	// Pending is a task that had not ended when its loop was closed.
	Pending
	// Task failed where nobody waits for it: left over at the end of Run, in a group
	// whose parent has ended, while its loop closed, or refused at its start.
	Task
	// Shielded is the failure of a future whose shield was cancelled before.
	Shielded
	// Generator failed while it was closed.
	Generator
	// Handler is the exception handler itself: it failed.
	Handler
	// Protocol failed: a method of a transport's protocol, or a stream's handler.
	Protocol
	// Server could not accept a connection, or not make its protocol.
	Server
)

// String is the kind in lower case.
func (k Kind) String() string {
	names := [...]string{
		"other", "callback", "unretrieved", "pending", "task", "shielded", "generator", "handler", "protocol", "server",
	}
	if int(k) >= len(names) {
		return "unknown"
	}
	return names[k]
}
