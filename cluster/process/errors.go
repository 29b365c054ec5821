package process

import (
	"errors"
	"fmt"

	"github.com/loopmesh/loopmesh/cluster"
)

// The errors of this package, for errors.Is on either side. Beside them come those of
// cluster.Function.Call: ErrRefused (no right spawn:PROFILE there), ErrUnknownNode,
// ErrNodeDown, ErrDisconnected.
var (
	// ErrUnknownProfile: the node offers no profile of that name. Nothing was started.
	ErrUnknownProfile = cluster.RegisterError("process.unknown-profile", errors.New("unknown profile"))
	// ErrArguments: the profile does not take these arguments or variables. Nothing was
	// started.
	ErrArguments = cluster.RegisterError("process.arguments", errors.New("arguments that the profile does not take"))
	// ErrTooMany: as many children of the profile, or of the node, run as may. Nothing was
	// started.
	ErrTooMany = cluster.RegisterError("process.too-many", errors.New("too many processes"))
	// ErrNotStarted: the program could not be started: it is missing, or the system refused.
	ErrNotStarted = cluster.RegisterError("process.not-started", errors.New("the program was not started"))
	// ErrNoGroup: the profile wants a control group, and the node cannot give it one. Nothing
	// was started.
	ErrNoGroup = cluster.RegisterError("process.no-group", errors.New("no control group"))
	// ErrUnknownProcess: the node knows no process of that number any more.
	ErrUnknownProcess = cluster.RegisterError("process.unknown", errors.New("unknown process"))
	// ErrEnded: the node ended the process, which did not end by itself. Exit says how, and
	// Exit.Why for what reason.
	ErrEnded = cluster.RegisterError("process.ended", errors.New("the node ended the process"))
)

func badArguments(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrArguments}, args...)...)
}

// notOffered says what to do as well: whoever meets it has usually started the node without
// the file, or has the name from another node.
func notOffered(node, profile string) error {
	return fmt.Errorf("%w: node %s offers none named %q; it offers what it was started with (start --profile FILE)", ErrUnknownProfile, node, profile)
}
