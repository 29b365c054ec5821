package cluster

import (
	"errors"
	"fmt"
	"strings"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// The errors of this package, to be tested with errors.Is. They mean the same on
// the calling node as on the node that raised them.
var (
	// ErrUnknownNode: no node of that name is in the cluster.
	ErrUnknownNode = errors.New("unknown node")
	// ErrUnknownLoop: the node has no loop of that name.
	ErrUnknownLoop = errors.New("unknown loop")
	// ErrUnknownFunction: the node's program registers no function of that name.
	ErrUnknownFunction = errors.New("unknown function")
	// ErrUnknownMessage: the type of a message between actors is not registered.
	ErrUnknownMessage = errors.New("unknown message")
	// ErrUnknownTransport: the node has no connection under that path.
	ErrUnknownTransport = errors.New("unknown transport")
	// ErrDeadIncarnation: the address means an earlier life of the node.
	ErrDeadIncarnation = errors.New("dead incarnation")
	// ErrExpired: the deadline passed before a result was there. Also
	// context.DeadlineExceeded.
	ErrExpired = errors.New("deadline passed")
	// ErrBadPayload: the arguments or the result do not fit the types of the
	// function as the other side knows it.
	ErrBadPayload = errors.New("bad payload")
	// ErrTooLarge: arguments or result are above Config.MaxPayload.
	ErrTooLarge = errors.New("payload too large")
	// ErrPanic: the function panicked. Only the text of the panic travels.
	ErrPanic = errors.New("function panicked")
	// ErrCancelled: the function's task was cancelled on its node.
	ErrCancelled = errors.New("call cancelled")
	// ErrBusy: the node holds as many unfinished calls as it may.
	ErrBusy = errors.New("node is busy")
	// ErrClosed: the loop is closed, or the node is leaving. Calls that run on a loop
	// made by NewLoop when it or its node is closed end with it at once, and their
	// tasks are cancelled; a call that arrives later ends with ErrUnknownLoop,
	// ErrUnknownNode or ErrNodeDown.
	ErrClosed = errors.New("loop or node is closed")
	// ErrRefused: not allowed on that node.
	ErrRefused = errors.New("refused")
	// ErrNameTaken: another live node has this name.
	ErrNameTaken = errors.New("node name is taken")
	// ErrDisconnected: this node has no connection to NATS. A call that was under
	// way may have run.
	ErrDisconnected = errors.New("not connected to NATS")
	// ErrNoNode: the process has no node that could carry the call.
	ErrNoNode = errors.New("no cluster node in this process")

	// ErrNodeDown: the node died or left. Reason of Terminated, and how calls end
	// that were under way; they may have run.
	ErrNodeDown = actors.ErrNodeDown
	// ErrLoopDied: the loop failed. Reason of Terminated.
	ErrLoopDied = actors.ErrLoopDied
	// ErrStopped: the loop was closed on purpose. Reason of Terminated.
	ErrStopped = actors.ErrStopped
)

// RemoteError is an error that came from another node, or that tells why the
// other node could not be asked. errors.Is finds the sentinel of its kind, and
// the registered error (RegisterError) the function returned.
type RemoteError struct {
	Target   string // node/loop, or node
	Function string // "" when no function was involved
	Message  string // what the other side said

	code     wire.Code
	sentinel error // registered error, nil when there is none
}

// Error says what was called where, and what came back.
func (e *RemoteError) Error() string {
	kind := e.kind()
	text := e.Message
	switch {
	case kind != nil && text == "":
		text = kind.Error()
	case kind != nil && !strings.HasPrefix(text, kind.Error()):
		text = kind.Error() + ": " + text
	}
	if e.Function == "" {
		return fmt.Sprintf("%s: %s", e.Target, text)
	}
	return fmt.Sprintf("%s on %s: %s", e.Function, e.Target, text)
}

// Unwrap gives the sentinels this error stands for.
func (e *RemoteError) Unwrap() []error {
	var out []error
	for _, err := range []error{e.kind(), e.sentinel} {
		if err != nil {
			out = append(out, err)
		}
	}
	return out
}

func (e *RemoteError) kind() error {
	if int(e.code) < len(kinds) {
		return kinds[e.code]
	}
	return nil
}

// kinds is the sentinel of each wire code; a user's error has none.
var kinds = [...]error{
	wire.UnknownNode: ErrUnknownNode, wire.UnknownLoop: ErrUnknownLoop, wire.UnknownFunction: ErrUnknownFunction,
	wire.DeadIncarnation: ErrDeadIncarnation, wire.Expired: expired{}, wire.BadPayload: ErrBadPayload,
	wire.TooLarge: ErrTooLarge, wire.Panicked: ErrPanic, wire.Cancelled: ErrCancelled, wire.Busy: ErrBusy,
	wire.Closed: ErrClosed, wire.Refused: ErrRefused, wire.UnknownTarget: ErrUnknownTransport,
	wire.NameTaken: ErrNameTaken, wire.NodeDown: ErrNodeDown, wire.LoopDied: ErrLoopDied, wire.Stopped: ErrStopped,
	wire.UnknownMessage: ErrUnknownMessage,
}

// coded is an error with its wire code: what this package raises itself.
type coded struct {
	code wire.Code
	err  error
}

func (c *coded) Error() string { return c.err.Error() }
func (c *coded) Unwrap() error { return c.err }

func codef(code wire.Code, format string, args ...any) *coded {
	return &coded{code, fmt.Errorf(format, args...)}
}
