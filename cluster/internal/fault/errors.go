// Package fault is what calls between nodes can end with: the errors of package
// cluster, the error that came from another node, and how an error is written
// into a frame and read out of one. It knows no node and no network.
package fault

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/internal/wire"
	"github.com/loopmesh/loopmesh/loopnode"
)

// The errors of package cluster, which documents them.
var (
	ErrConfig           = errors.New("bad configuration")
	ErrUnknownNode      = errors.New("unknown node")
	ErrUnknownLoop      = errors.New("unknown loop")
	ErrUnknownFunction  = errors.New("unknown function")
	ErrUnknownMessage   = errors.New("unknown message")
	ErrUnknownTransport = errors.New("unknown transport")
	ErrDeadIncarnation  = errors.New("dead incarnation")
	ErrExpired          = errors.New("deadline passed")
	ErrBadPayload       = errors.New("bad payload")
	ErrTooLarge         = errors.New("payload too large")
	ErrPanic            = errors.New("function panicked")
	ErrCancelled        = errors.New("call cancelled")
	ErrBusy             = loopnode.ErrBusy
	ErrClosed           = errors.New("closed")
	ErrRefused          = errors.New("refused")
	ErrNameTaken        = actors.ErrNameTaken
	ErrDisconnected     = errors.New("not connected to NATS")
	ErrStaleAddress     = errors.New("stale address")
	ErrNoCredit         = errors.New("no credit")
	ErrLost             = errors.New("lost on the way")
	ErrCutOff           = errors.New("cut off")
	ErrFenced           = errors.New("node is fenced")
	ErrNoNode           = errors.New("no cluster node")
	ErrLeaving          = errors.New("leaving, nothing ran")
	ErrNodeDown         = actors.ErrNodeDown
	ErrLoopDied         = actors.ErrLoopDied
	ErrStopped          = actors.ErrStopped
)

// Config is an ErrConfig with a text that says what to write instead.
func Config(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrConfig}, args...)...)
}

// RemoteError is an error that came from another node, or that tells why the other
// node could not be asked. errors.Is finds the sentinel of its kind, and the
// registered error (RegisterError) the function returned.
//
// code says the kind, in the numbers of the wire; it is the same whether this node
// raised the error or another one did.
type RemoteError struct {
	Target   string // node/loop, or node
	Function string // "" when no function was involved
	Message  string // what the other side said

	code     wire.Code
	sentinel error // registered error, nil when there is none
}

// New is an error that this node raises about target. kind is one of the errors
// above.
func New(target, function string, kind error, text string) *RemoteError {
	e := &RemoteError{Target: target, Function: function, Message: text, code: codeOf(kind)}
	if e.code == wire.User { // only this node can say it, so it has no code
		e.sentinel, e.Message = kind, kind.Error()+": "+text
	}
	return e
}

// Wrap is New that keeps a cause for errors.Is.
func Wrap(target, function string, kind, cause error, text string) *RemoteError {
	return &RemoteError{Target: target, Function: function, Message: text, code: codeOf(kind), sentinel: cause}
}

// At is e about another target. A function, so that callers of package cluster, who
// have a RemoteError, do not have it as a method.
func At(e *RemoteError, target string) *RemoteError {
	moved := *e
	moved.Target = target
	return &moved
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
	return Place(e.Function, e.Target) + ": " + text
}

// ownPrefix begins the names of the functions that the packages of this module register for
// themselves.
const ownPrefix = "loopmesh."

// Place is where a call went, for an error. The name of a function of our own is left out:
// who has typed "drain n3" knows what was asked, and never heard of such a function.
func Place(function, target string) string {
	if function == "" || strings.HasPrefix(function, ownPrefix) {
		return target
	}
	return function + " on " + target
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

// expired is ErrExpired and context.DeadlineExceeded at once.
type expired struct{}

func (expired) Error() string   { return ErrExpired.Error() }
func (expired) Unwrap() []error { return []error{ErrExpired, context.DeadlineExceeded} }

// leaving is ErrLeaving and ErrClosed at once: whoever knows only the latter is right, too.
type leaving struct{}

func (leaving) Error() string   { return ErrLeaving.Error() }
func (leaving) Unwrap() []error { return []error{ErrLeaving, ErrClosed} }

// NothingRan reports whether an error, of a call of a function on a target, says that the
// function did not begin: that target was not there, did not have the loop or the function, or
// refused the call. An error that the function returned is never one, whatever it wraps.
func NothingRan(err error, target, function string) bool {
	e, ok := err.(*RemoteError) //nolint:errorlint // one that is wrapped came from elsewhere
	if !ok || e.Target != target || e.Function != function {
		return false
	}
	switch e.code {
	case wire.UnknownNode, wire.UnknownLoop, wire.UnknownFunction, wire.DeadIncarnation, wire.StaleLoop, wire.Busy, wire.NoCredit, wire.Fenced, wire.Leaving:
		return true
	}
	return false
}

// kinds is the sentinel of each wire code; a user's error has none.
var kinds = [...]error{
	wire.UnknownNode: ErrUnknownNode, wire.UnknownLoop: ErrUnknownLoop, wire.UnknownFunction: ErrUnknownFunction,
	wire.DeadIncarnation: ErrDeadIncarnation, wire.Expired: expired{}, wire.BadPayload: ErrBadPayload,
	wire.TooLarge: ErrTooLarge, wire.Panicked: ErrPanic, wire.Cancelled: ErrCancelled, wire.Busy: ErrBusy,
	wire.Closed: ErrClosed, wire.Refused: ErrRefused, wire.UnknownTarget: ErrUnknownTransport,
	wire.NameTaken: ErrNameTaken, wire.NodeDown: ErrNodeDown, wire.LoopDied: ErrLoopDied, wire.Stopped: ErrStopped,
	wire.UnknownMessage: ErrUnknownMessage, wire.StaleLoop: ErrStaleAddress, wire.NoCredit: ErrNoCredit,
	wire.Fenced: ErrFenced, wire.Lost: ErrLost, wire.Leaving: leaving{},
}

// Kinds are the sentinels that have a wire code.
func Kinds() []error {
	var out []error
	for _, kind := range kinds {
		if kind != nil {
			out = append(out, kind)
		}
	}
	return out
}

// codeOf is the wire code of a sentinel; User when it has none.
func codeOf(kind error) wire.Code {
	switch kind {
	case ErrExpired:
		return wire.Expired
	case ErrLeaving:
		return wire.Leaving
	}
	for code, err := range kinds {
		if err == kind {
			return wire.Code(code)
		}
	}
	return wire.User
}

// coded is an error with its wire code: what this node raises about what another
// node sent.
type coded struct {
	code wire.Code
	err  error
}

func (c *coded) Error() string { return c.err.Error() }
func (c *coded) Unwrap() error { return c.err }

// Codef is fmt.Errorf with the wire code under which the error travels.
func Codef(code wire.Code, format string, args ...any) error {
	return &coded{code, fmt.Errorf(format, args...)}
}
