package actors

import "errors"

// The errors of this package. They are wrapped with text: test with errors.Is.
// Terminated.Reason is ErrStopped, ErrUnknown, ErrLoopDied, ErrNodeDown, a *Panic, or
// the error the actor ended with.
var (
	// ErrStopped: the actor was asked to stop, or ended itself without an error. It is
	// also cluster.ErrStopped, of a loop, which is why the text names no actor.
	ErrStopped = errors.New("it stopped")
	// ErrUnknown: no actor has this address, or had it and is gone.
	ErrUnknown = errors.New("no such actor")
	// ErrLoopDied: the loop under the actor was closed or its goroutine failed. It is
	// also cluster.ErrLoopDied.
	ErrLoopDied = errors.New("the loop is gone")
	// ErrNodeDown: the node of the actor was lost, or left before the actor had ended. It
	// is also cluster.ErrNodeDown, of calls and connections.
	ErrNodeDown = errors.New("the node is gone")
	// ErrGoexit: user code ended its goroutine with runtime.Goexit (t.FailNow does).
	// It is also loopnode.ErrGoexit.
	ErrGoexit = errors.New("the function called runtime.Goexit")
	// ErrWouldBlock: the call waits, and its goroutine runs a loop, which would
	// stand still meanwhile. It is also loopnode.ErrWouldBlock.
	ErrWouldBlock = errors.New("waiting here would block the event loop")
	// ErrTooManyRestarts: a supervisor has restarted as often within its Period as its
	// Intensity allows.
	ErrTooManyRestarts = errors.New("too many restarts")
	// ErrNameTaken: an actor with this name is alive.
	ErrNameTaken = errors.New("the name is taken")
	// ErrBadAddress: the text is not an address, or a name cannot be part of one.
	ErrBadAddress = errors.New("bad address")
	// ErrShutdown: the system was shut down and starts nothing more. It is also
	// loopnode.ErrShutdown, of an executor.
	ErrShutdown = errors.New("it was shut down and takes nothing more")
	// ErrNoRoute: the address is on another node and nothing carries messages there.
	ErrNoRoute = errors.New("no route to the node")
	// ErrMailboxFull: as many messages wait for the actor as may: WithMailboxLimit,
	// or Options.RemoteLimit for other nodes.
	ErrMailboxFull = errors.New("the mailbox is full")
	// ErrAnswerLost: the actor of another node has answered, but the answer could
	// not be sent; the text says why.
	ErrAnswerLost = errors.New("the answer could not be sent")
	// ErrNoSender: the message has no sender to answer.
	ErrNoSender = errors.New("the message has no sender")
)
