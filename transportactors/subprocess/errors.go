package subprocess

import (
	"errors"
	"fmt"

	"github.com/loopmesh/loopmesh/loopnode"
)

// The errors of this package, to be tested with errors.Is.
var (
	// ErrProcessLookup: the child process has ended. ProcessLookupError.
	ErrProcessLookup = errors.New("no such process")
	// ErrTooMuchOutput: a child wrote more than WithMaxOutput allows.
	ErrTooMuchOutput = errors.New("too much output")
)

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{loopnode.ErrInvalidArgument}, args...)...)
}
