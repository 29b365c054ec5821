package nodecmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/admin"
	"github.com/loopmesh/loopmesh/cluster/keys"
)

// A script sees a command only by its exit code, so the codes are an interface: a number
// keeps its meaning, and each failure has one that says what to do about it (wait and
// try again: 4, 5; ask for rights: 6; mend the command line: 2, 8).

// Exit codes, the same for all commands; the text exitCodes tells them to people. 130
// is what a shell reports for a process ended by Ctrl-C (128 + SIGINT), so that a
// script sees no difference between the two ways. 7 and 8 are apart from 1 because
// nothing has failed: 7 is an answer ("not healthy"), and 8 will be the same at every
// repetition until the configuration is changed.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitUnreachable = 4
	exitTimedOut    = 5
	exitRefused     = 6
	exitFalse       = 7
	exitConfig      = 8
	exitInterrupted = 130
)

const exitCodes = `Exit codes of all commands:

  0    done, or the condition is true
  1    the operation failed
  2    wrong usage: unknown command, flag or value, several possible targets
  3    not found: node, loop, function, connection, keys of a node, what is stored under an id
  4    the node or the cluster cannot be reached, or only a part of it answered
  5    timed out
  6    refused: busy, not allowed, in use (a name, a port, a store folder), keys that the server does not accept
  7    the condition is false: not everything is healthy (status, check), or this machine is not fit (doctor)
  8    the configuration is invalid: a mistake in the file of --config, an address to listen on that no interface has, addresses of separate servers, a server
       that is too old, a cluster without JetStream
  130  interrupted

With --nagios the command check has those of Nagios: 0 good, 1 warning, 2 critical, 3 could not ask.
proc run ends with the code of the process that it ran, 128+N when signal N killed it.`

// The errors of this file are found in a returned error by errors.As; classify is the only
// place that knows which code each of them has.

// usageError is a command line that this program does not understand. Nothing was
// done, and the same line will never work.
type usageError struct{ error }

// partialError: some nodes or loops did not answer; what the others told has been
// printed. Its text names each of them with its reason.
type partialError struct{ missing []admin.Missing }

func (e *partialError) Error() string {
	text := "only a part of the cluster answered"
	for _, m := range e.missing {
		text += fmt.Sprintf("\n  %s: %s", m.ID, m.Error.Message)
	}
	return text
}

// conditionError: the command worked, and the condition it checks is false.
// It has a code of its own, since a script must be able to tell "not healthy" from
// "could not ask".
type conditionError struct{ error }

// codeOfKind is the exit code of what a node answered. The node says what went wrong in
// a word, never in a number: exit codes are the business of this program.
var codeOfKind = map[string]int{
	admin.Failed: exitFailed, admin.BadRequest: exitUsage, admin.NotFound: exitNotFound, admin.Unreachable: exitUnreachable,
	admin.TimedOut: exitTimedOut, admin.Refused: exitRefused, admin.Cancelled: exitInterrupted,
}

// classify turns any error into an error document and its exit code. The order of the
// cases counts: errors of this program come first, since they wrap others; then what
// the node answered, whose kind is already decided; then errors of the libraries, by
// their sentinels; an ended ctx last, because a library wraps it into a more telling
// error where it can.
func classify(cmd *cobra.Command, err error) (*admin.Error, int) {
	var usage usageError
	var partial *partialError
	var no conditionError
	var file fileError
	var asked *admin.Error
	switch {
	case errors.As(err, &usage):
		return &admin.Error{Kind: admin.BadRequest, Message: named(err.Error(), cmd.Root().Name()), Hint: fmt.Sprintf("see '%s --help'", cmd.CommandPath()), Code: admin.CodeUsage}, exitUsage
	case errors.As(err, &partial):
		return &admin.Error{Kind: admin.Unreachable, Message: err.Error(), Hint: "add --allow-partial to accept an incomplete answer", Code: codePartial}, exitUnreachable
	case errors.As(err, &no):
		return &admin.Error{Kind: admin.Failed, Message: err.Error(), Code: admin.CodeUnhealthy}, exitFalse
	case errors.As(err, &asked) && (asked.Code == admin.CodeNoJetStream || asked.Code == admin.CodeConfig):
		return asked, exitConfig // as at the start of a node, see below
	case errors.As(err, &asked):
		if code, known := codeOfKind[asked.Kind]; known {
			return asked, code
		}
		return asked, exitFailed // a kind of a newer node: never 0
	case errors.As(err, &file):
		return &admin.Error{Kind: admin.BadRequest, Message: err.Error(), Code: admin.CodeConfig}, exitConfig
	case errors.Is(err, keys.ErrInvalid) && !errors.Is(err, cluster.ErrConfig):
		return &admin.Error{Kind: admin.BadRequest, Message: err.Error()}, exitUsage
	case errors.Is(err, cluster.ErrConfig), errors.Is(err, cluster.ErrSeparate), errors.Is(err, cluster.ErrTooOld), errors.Is(err, cluster.ErrNoJetStream), errors.Is(err, admin.ErrNeedsToken):
		return &admin.Error{Kind: admin.BadRequest, Message: err.Error()}, exitConfig
	case errors.Is(err, admin.ErrInUse): // a name out of --keys cannot be another one
		return &admin.Error{Kind: admin.Refused, Message: err.Error(), Hint: "choose another name with --name or another path with --socket, or stop the node that has it"}, exitRefused
	case errors.Is(err, cluster.ErrNameTaken):
		return &admin.Error{Kind: admin.Refused, Message: err.Error(), Hint: "choose another name with --name, or stop the node that has it"}, exitRefused
	case errors.Is(err, syscall.EADDRINUSE):
		return &admin.Error{Kind: admin.Refused, Message: err.Error(), Hint: "another program has that port: stop it, or give another address; port 0 takes a free one"}, exitRefused
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return &admin.Error{Kind: admin.BadRequest, Message: err.Error(), Hint: "no interface of this machine has that address: see 'ip address'"}, exitConfig
	case errors.Is(err, keys.ErrUnknown):
		return &admin.Error{Kind: admin.NotFound, Message: err.Error()}, exitNotFound
	case errors.Is(err, keys.ErrExists), errors.Is(err, keys.ErrPermissions), errors.Is(err, cluster.ErrDenied), errors.Is(err, cluster.ErrStore):
		return &admin.Error{Kind: admin.Refused, Message: err.Error()}, exitRefused
	case errors.Is(err, cluster.ErrDisconnected), errors.Is(err, cluster.ErrNoQuorum):
		return &admin.Error{Kind: admin.Unreachable, Message: err.Error()}, exitUnreachable
	case errors.Is(err, context.Canceled):
		return &admin.Error{Kind: admin.Cancelled, Message: "interrupted"}, exitInterrupted
	case errors.Is(err, context.DeadlineExceeded):
		return &admin.Error{Kind: admin.TimedOut, Message: err.Error()}, exitTimedOut
	}
	return &admin.Error{Kind: admin.Failed, Message: err.Error()}, exitFailed
}

// codePartial is the code of a partialError; --watch goes on behind one.
const codePartial = admin.CodePartial

// printError prints err to stderr and returns the exit code: for people as two lines,
// what failed and what to do; as one JSON document when the command was asked for
// JSON, so that a program never has to parse prose.
func printError(errs io.Writer, cmd *cobra.Command, err error) int {
	if err == nil {
		return exitOK
	}
	var said exitError
	if errors.As(err, &said) {
		return int(said)
	}
	found, code := classify(cmd, err)
	copied := *found
	e := &copied
	if e.Code == "" {
		e.Code = admin.CodeOf(err)
	}
	e.Hint = named(e.Hint, cmd.Root().Name())
	if f := cmd.Flags().Lookup("output"); f != nil && slices.Contains([]string{formatJSON, formatLines, formatYAML}, f.Value.String()) {
		_ = documentTo(errs, formatLines, struct {
			Kind  string       `json:"kind"`
			Error *admin.Error `json:"error"`
			Exit  int          `json:"exit"`
		}{"Error", e, code})
		return code
	}
	text := e.Message
	if e.Code != "" {
		first, rest, more := strings.Cut(text, "\n")
		text = first + " (" + e.Code + ")"
		if more {
			text += "\n" + rest
		}
	}
	fmt.Fprintf(errs, "%s: %s\n", cmd.Root().Name(), printableLines(text))
	if e.Hint != "" {
		fmt.Fprintf(errs, "  %s\n", printableLines(e.Hint))
	}
	return code
}
