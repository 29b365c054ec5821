package admin

import (
	"cmp"
	"context"
	_ "embed" // codes.txt
	"errors"
	"io/fs"
	"strings"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/durable"
	"github.com/loopmesh/loopmesh/cluster/groups"
	"github.com/loopmesh/loopmesh/cluster/keys"
	"github.com/loopmesh/loopmesh/cluster/process"
	"github.com/loopmesh/loopmesh/loopnode"
)

// Codes: one for each thing that an operator may want to look up, LM and four digits.
// Invariant: a code keeps its meaning for ever; one that is no longer used is not given
// to anything else. The first digit is the area: 1 the command line and its node, 2
// loops and tasks, 3 calls and messages between nodes, 4 membership, 5 actors, 6 what
// an operator did, 7 the connection to NATS. docs/errors.md is made from this table.

// Code explains one code: what has happened, why it happens, and what to do.
type Code struct {
	Code  string `json:"code"`
	Title string `json:"title"`
	Cause string `json:"cause"`
	Do    string `json:"do"`
}

// Codes of errors that the command line makes itself, or tells apart from others of
// their kind. The others belong to errors and events of this package and of those below
// it, and are found by CodeOf.
const (
	CodeUsage        = "LM1001"
	CodeNoNode       = "LM1002"
	CodeManyTargets  = "LM1003"
	CodePartial      = "LM1004"
	CodeUnhealthy    = "LM1005"
	CodeConfig       = "LM1801"
	CodeNoContext    = "LM3192"
	CodeContextThere = "LM3193"
	CodeContextBusy  = "LM3194"
	CodeNoJetStream  = "LM1806"
)

// The other codes. Errors of the command line and of the node it asks are 1000 to 1799,
// of configurations 1800 to 1899; loops are 2100 to 2299, what user code does 2300 to
// 2399; calls that failed for their caller are 3100 to 3199, what a node notices about
// the calls of others 3200 to 3299. The gaps are room for codes that belong beside one
// that is there.
const (
	codeUntrusted   = "LM1006"
	codeSocketInUse = "LM1007"
	codeToken       = "LM1008"
	codeBadRequest  = "LM1009"
	codeInterrupted = "LM1010"
	codeNotFound    = "LM1011"
	codeNotStored   = "LM1012"
	codeStore       = "LM1802"
	codeDenied      = "LM1803"
	codeNameTaken   = "LM1804"
	codeSeparate    = "LM1805"
	codeKeysWrong   = "LM1807"
	codeNoKeys      = "LM1808"
	codeKeysThere   = "LM1809"
	codeKeysOpen    = "LM1810"
	codeFile        = "LM1811"

	codeLoopBlocked = "LM2101"
	codeLoopMoves   = "LM2102"
	codeLoopMade    = "LM2103"
	codeLoopEnded   = "LM2104"
	codeLoopClosed  = "LM2105"
	codePanic       = "LM2301"

	codeTimeout          = "LM3101"
	codeUnknownNode      = "LM3102"
	codeUnknownFunction  = "LM3103"
	codeUnknownLoop      = "LM3104"
	codeUnknownTransport = "LM3105"
	codeBadAddress       = "LM3106"
	codeBadPayload       = "LM3107"
	codeTooLarge         = "LM3108"
	codeBusy             = "LM3109"
	codeNoRight          = "LM3110"
	codeNodeDown         = "LM3111"
	codeStale            = "LM3112"
	codeFailed           = "LM3113"
	codeLeaving          = "LM3114"
	codeUnknownProfile   = "LM3115"
	codeProfileArguments = "LM3116"
	codeTooManyProcesses = "LM3117"
	codeNotStarted       = "LM3118"
	codeUnknownProcess   = "LM3119"
	codeProcessEnded     = "LM3120"
	codeDeadLetter       = "LM3170"
	codeNoGroup          = "LM3171"
	codeDeadTimer        = "LM3172"
	codeReloaded         = "LM3180"
	codeReloadRefused    = "LM3181"
	codeNoTraces         = "LM3182"
	codeTraced           = "LM3183"
	codeBenchRuns        = "LM3190"
	codeBench            = "LM3191"
	codeTooLate          = "LM3195"
	CodeResumed          = "LM3196"
	codeCallsRefused     = "LM3201"
	codeCallsLost        = "LM3202"
	codeRightMissing     = "LM3203"

	codeJoined  = "LM4101"
	codeSuspect = "LM4102"
	codeBack    = "LM4103"
	codeDead    = "LM4104"
	codeLeft    = "LM4105"
	codeFenced  = "LM4106"
	codeServing = "LM4107"
	codeLost    = "LM4108"

	codeActorFailed = "LM5101"

	codeTaskCancelled  = "LM6101"
	codeConnClosed     = "LM6102"
	codeServerClosed   = "LM6103"
	codeChildSignalled = "LM6104"
	codeActorStopped   = "LM6105"
	codeTimerCancelled = "LM6106"
	codeTimerFired     = "LM6107"
	codeRequeued       = "LM6108"
	codeDrained        = "LM6109"
	codeLogLevel       = "LM6110"
	codeProfiled       = "LM6111"

	codeDisconnected     = "LM7101"
	codeNATSDisconnected = "LM7102"
	codeNATSReconnected  = "LM7103"
	codeNATSDropped      = "LM7104"
	codeNoQuorum         = "LM7105"
	codeStoreFull        = "LM7106"
)

// Codes is the table, in the order of the codes. It is read anew for each call, from a
// text of a few kilobytes: it is asked for by people.
func Codes() []Code { return readCodes(explanations) }

// Explain finds a code: LM and four digits, or the digits alone.
func Explain(code string) (Code, bool) {
	digits := strings.TrimPrefix(strings.ToUpper(code), "LM")
	for _, c := range Codes() {
		if strings.TrimPrefix(c.Code, "LM") == digits {
			return c, true
		}
	}
	return Code{}, false
}

// Why the codes are here and not in the errors themselves: an error of the library is
// a value that a program compares with errors.Is, and a text; neither should change
// because an operator's page gets another section. The table below joins the two, and
// whoever adds an error that operators meet adds a row and an explanation.
//
// codesOfErrors maps errors of the libraries to codes; the first that fits counts, as
// in kindsOfErrors.
var codesOfErrors = []struct {
	code string
	err  error
}{
	{codeUntrusted, ErrUntrusted}, {codeToken, ErrNeedsToken}, {codeSocketInUse, ErrInUse},
	{CodeConfig, cluster.ErrConfig}, {codeStore, cluster.ErrStore}, {codeDenied, cluster.ErrDenied}, {codeNameTaken, cluster.ErrNameTaken},
	{codeSeparate, cluster.ErrSeparate},
	{codeUnknownProfile, process.ErrUnknownProfile}, {codeProfileArguments, process.ErrArguments}, {codeTooManyProcesses, process.ErrTooMany},
	{codeNoGroup, process.ErrNoGroup}, {codeNotStarted, process.ErrNotStarted}, {codeUnknownProcess, process.ErrUnknownProcess}, {codeProcessEnded, process.ErrEnded},
	{codeUnknownNode, cluster.ErrUnknownNode}, {codeUnknownFunction, cluster.ErrUnknownFunction}, {codeUnknownLoop, cluster.ErrUnknownLoop},
	{codeUnknownTransport, cluster.ErrUnknownTransport}, {codeStale, cluster.ErrDeadIncarnation},
	{codeBadAddress, actors.ErrBadAddress}, {codeBadPayload, cluster.ErrBadPayload}, {codeTooLarge, cluster.ErrTooLarge},
	{codeBusy, cluster.ErrBusy}, {codeNoRight, cluster.ErrRefused}, {codeNodeDown, cluster.ErrNodeDown}, {codeDisconnected, cluster.ErrDisconnected},
	{CodeNoJetStream, cluster.ErrNoJetStream}, {codeNoQuorum, cluster.ErrNoQuorum}, {codeStoreFull, durable.ErrFull},
	{codeNotStored, durable.ErrNotFound}, {codeBadRequest, durable.ErrBadID},
	{codePanic, cluster.ErrPanic}, {codeLoopClosed, loopnode.ErrLoopClosed}, {codeLeaving, groups.ErrLeaving}, {codeLoopClosed, cluster.ErrClosed},
	{codeKeysWrong, keys.ErrInvalid}, {codeNoKeys, keys.ErrUnknown}, {codeKeysThere, keys.ErrExists}, {codeKeysOpen, keys.ErrPermissions},
	{codeFile, fs.ErrPermission}, {codeFile, fs.ErrNotExist}, {codeFile, fs.ErrExist},
	{codeTimeout, context.DeadlineExceeded}, {codeTimeout, loopnode.ErrTimeout}, {codeInterrupted, context.Canceled},
}

// CodeOf is the code of an error of this module, "" when it has none of its own. An
// *Error that was made without one has that of its kind.
func CodeOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return cmp.Or(e.Code, codesOfKinds[e.Kind])
	}
	for _, c := range codesOfErrors {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return ""
}

// explanations are the texts of the codes, in a file of their own because they are
// prose: three lines for each code and an empty one between two. The first line is the
// code and what has happened, the second begins with "why: ", the third with "do: ".
//
//go:embed codes.txt
var explanations string

// readCodes reads them. What does not have this form would be a code without an
// explanation, which TestCodesAreWhole finds; nothing is checked here.
func readCodes(text string) (out []Code) {
	for part := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		lines := strings.SplitN(part, "\n", 3)
		if len(lines) < 3 {
			continue
		}
		code, title, _ := strings.Cut(lines[0], " ")
		out = append(out, Code{code, title, strings.TrimPrefix(lines[1], "why: "), strings.TrimPrefix(lines[2], "do: ")})
	}
	return out
}
