package admin

import (
	"cmp"
	"context"
	"errors"
	"net/http"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/durable"
	"github.com/loopmesh/loopmesh/cluster/process"
)

// One kind for each thing that a user can do something about. A kind is a word of the
// API: the HTTP status and the exit code (cmd/node/exit.go) are made from it, and
// both only repeat what the kind says.

// Kinds of Error, which a program can decide by.
const (
	Failed      = "failed"      // the operation was carried out and failed
	BadRequest  = "bad_request" // the question is wrong
	NotFound    = "not_found"
	Unreachable = "unreachable"
	TimedOut    = "timed_out"
	Refused     = "refused"
	Cancelled   = "cancelled" // whoever asked went away
)

// Error is an answer that says no: what failed and why in Message, what to do in
// Hint. Programs decide by Kind; the texts may change.
type Error struct {
	Kind    string `json:"kind"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	Code    string `json:"code,omitempty"` // see Explain
}

// Error is the message; the hint is printed apart.
func (e *Error) Error() string { return e.Message }

// errorDocument is how an Error travels.
type errorDocument struct {
	Kind       string `json:"kind"`
	APIVersion string `json:"apiVersion"`
	Error      *Error `json:"error"`
}

// kindsOfErrors maps errors of the libraries to kinds; the first that fits counts.
// The errors of ctx come last: an error of a library that wraps one says more than
// "too late".
var kindsOfErrors = []struct {
	kind string
	errs []error
}{
	{NotFound, []error{process.ErrUnknownProfile, process.ErrUnknownProcess, cluster.ErrUnknownNode, cluster.ErrUnknownLoop, cluster.ErrUnknownFunction, cluster.ErrUnknownTransport, cluster.ErrDeadIncarnation, durable.ErrNotFound}},
	{BadRequest, []error{process.ErrArguments, actors.ErrBadAddress, cluster.ErrBadPayload, cluster.ErrTooLarge, durable.ErrBadID}},
	{Refused, []error{process.ErrTooMany, cluster.ErrBusy, cluster.ErrRefused, cluster.ErrDenied, cluster.ErrNoJetStream, durable.ErrFull}},
	{Unreachable, []error{cluster.ErrNodeDown, cluster.ErrDisconnected, cluster.ErrClosed, cluster.ErrNoQuorum}},
	{TimedOut, []error{context.DeadlineExceeded}},
	{Cancelled, []error{context.Canceled}},
}

// asError gives err its kind; an *Error, which has one, passes as it is.
func asError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		coded := *e
		coded.Code = CodeOf(e)
		return &coded
	}
	code := CodeOf(err)
	for _, s := range kindsOfErrors {
		for _, known := range s.errs {
			if errors.Is(err, known) {
				return &Error{Kind: s.kind, Message: err.Error(), Hint: hintOf(code), Code: cmp.Or(code, codesOfKinds[s.kind])}
			}
		}
	}
	return &Error{Kind: Failed, Message: err.Error(), Code: cmp.Or(code, codeFailed)}
}

// hintOf says what to do about an error of another package whose text cannot: the node that
// refuses does not know who has typed what, and where.
func hintOf(code string) string {
	if code == codeNoRight {
		return "ask on that machine, or ask a node that has the right: 'loopmesh explain " + codeNoRight + "'"
	}
	return ""
}

// An error of this package has no sentinel behind it: its text is made where it is
// returned, and its kind is all that is known of it. So its code is that of the kind,
// unless the place that makes it gives a better one.
//
// codesOfKinds are for errors of this package itself, whose kind says what to do.
var codesOfKinds = map[string]string{
	Failed: codeFailed, BadRequest: codeBadRequest, NotFound: codeNotFound, Unreachable: CodeNoNode, TimedOut: codeTimeout,
	Refused: codeNoRight, Cancelled: codeInterrupted,
}

// statuses are for clients that look at HTTP alone, such as curl --fail. A kind
// without a status would panic in net/http, hence one for each.
var statuses = map[string]int{
	Failed: http.StatusInternalServerError, BadRequest: http.StatusBadRequest, NotFound: http.StatusNotFound,
	Unreachable: http.StatusBadGateway, TimedOut: http.StatusGatewayTimeout, Refused: http.StatusTooManyRequests,
	Cancelled: http.StatusServiceUnavailable,
}
