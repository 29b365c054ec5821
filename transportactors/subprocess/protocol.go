package subprocess

import (
	"context"
	"syscall"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

// Protocol is what a child process tells. All methods run on the
// loop's goroutine and must not block. Per descriptor data comes first, then
// one PipeConnectionLost; between the pipes and ProcessExited there is no order,
// because a grandchild may hold a pipe after the child has ended.
// BaseProtocol has them all; transportactors.WritePauser is told about stdin.
// asyncio.SubprocessProtocol.
type Protocol interface {
	// ConnectionMade comes first, once. The child runs.
	ConnectionMade(t Transport)
	// PipeDataReceived brings output of the child: fd 1 or 2. The bytes are
	// valid during the call only.
	PipeDataReceived(fd int, data []byte)
	// PipeConnectionLost says that the pipe of fd is done: nil at its orderly
	// end, EPIPE when the child took less than was written to its stdin.
	PipeConnectionLost(fd int, reason error)
	// ProcessExited says that the child has ended; Returncode is known.
	ProcessExited()
	// ConnectionLost comes once and last: the child has ended and its pipes
	// have, too. reason is nil, or loopnode.ErrLoopClosed with why the loop was closed.
	ConnectionLost(reason error)
}

// BaseProtocol does nothing; embed it and write the methods needed.
type BaseProtocol struct{}

// ConnectionMade does nothing.
func (BaseProtocol) ConnectionMade(Transport) {}

// PipeDataReceived does nothing.
func (BaseProtocol) PipeDataReceived(int, []byte) {}

// PipeConnectionLost does nothing.
func (BaseProtocol) PipeConnectionLost(int, error) {}

// ProcessExited does nothing.
func (BaseProtocol) ProcessExited() {}

// ConnectionLost does nothing.
func (BaseProtocol) ConnectionLost(error) {}

// Transport is a child process. Its methods belong to the loop's
// goroutine and never wait. asyncio.SubprocessTransport.
type Transport interface {
	// PID is the child's number, also after its end, when the number may be
	// somebody else's: SendSignal is safe then, kill(2) is not.
	PID() int
	// Returncode is the exit code, or -N when signal N killed the child. ended
	// is false while it runs.
	Returncode() (code int, ended bool)
	// PipeTransport is the transport of stdin (0: for writing), stdout (1) or
	// stderr (2: for reading), also after its end; nil for what is not a pipe.
	PipeTransport(fd int) transportactors.Transport
	// SendSignal sends sig to the child and to nobody else. ErrProcessLookup
	// once its end was noticed; a child that has ended unnoticed takes it
	// silently. It never takes the exit code away.
	SendSignal(sig syscall.Signal) error
	// Terminate is SendSignal(SIGTERM).
	Terminate() error
	// Kill is SendSignal(SIGKILL).
	Kill() error
	// Close closes the pipes and kills the child if it runs. The callbacks
	// still follow, in later turns. Repeating it does nothing.
	Close()
	// IsClosing is true from Close on.
	IsClosing() bool
	// SetProtocol makes p the receiver of everything that follows; with nil
	// nobody hears it.
	SetProtocol(p Protocol)
	// Protocol is the current receiver.
	Protocol() Protocol
	// Actor is the child as an actor of its loop's system: send it SignalRequest,
	// transportactors.WriteRequest (for its stdin) or transportactors.CloseRequest,
	// watch it to hear its end (Terminated.Reason is an *ExitError,
	// actors.ErrStopped for code 0), stop it to
	// close the transport. Its address works from other nodes, too.
	Actor() actors.Ref
	// Context is the ctx the child was started with, as transportactors.Transport has it.
	Context() context.Context
	// ExtraInfo knows "subprocess" (Info); nil for anything else.
	ExtraInfo(name string) any
	// Loop is where the transport lives.
	Loop() *loopnode.Loop
}

// ExecProtocol starts the program args[0] with the arguments args, without a
// shell, and returns after ConnectionMade ran. A name without a slash is looked
// for in the absolute folders of PATH of the child's environment. stdin, stdout
// and stderr are pipes unless options say otherwise; no other descriptor of this
// process reaches the child, except those of WithFiles.
//
// It waits, while another goroutine starts the child, so that a slow disk does
// not hold up the loop; call it in a task. Cancelling the task or ending ctx
// kills the child, reaps it and closes its pipes before the error is returned.
// factory is called once, when the child runs. The child lives until it ends, or
// until Close or the end of the loop kills it.
//
// A signal that this process handles or leaves alone has its default action in
// the child, SIGPIPE and SIGXFSZ included (restore_signals=True of Python). One
// that this process ignores, by signal.Ignore or because it was started by nohup,
// stays ignored, as with Python: nohup then covers the children, too. Calling
// signal.Notify for it before the start gives the child the default action.
//
// Errors: *os.PathError with ENOENT or EACCES for a program that is missing or
// cannot be run (no method of the protocol was called), ENOENT for a missing
// folder of WithDir, loopnode.ErrInvalidArgument, loopnode.ErrNoRunningLoop,
// EMFILE and the like, the *loopnode.Panic of factory or ConnectionMade (the child
// is killed). asyncio: loop.subprocess_exec.
func ExecProtocol[P Protocol](ctx context.Context, factory func() P, args []string, opts ...Option) (Transport, P, error) {
	var p P
	if factory == nil {
		return nil, p, invalid("ExecProtocol needs a factory, not nil")
	}
	o, err := collect(args, opts)
	if err != nil {
		return nil, p, err
	}
	s, err := start(ctx, o, func() Protocol { p = factory(); return p })
	if err != nil {
		return nil, p, err
	}
	return s, p, nil
}

// ShellProtocol is ExecProtocol of /bin/sh -c command. A program that the
// shell does not find is its exit code 127, not an error. Never put text from
// elsewhere into command: give it as an argument of ExecProtocol.
// asyncio: loop.subprocess_shell.
func ShellProtocol[P Protocol](ctx context.Context, factory func() P, command string, opts ...Option) (Transport, P, error) {
	return ExecProtocol(ctx, factory, shell(command), opts...)
}

func shell(command string) []string { return []string{"/bin/sh", "-c", command} }
