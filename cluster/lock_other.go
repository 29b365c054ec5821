//go:build !unix

package cluster

import (
	"errors"
	"os"
)

// lockFile is refused where there is no flock: two nodes in one folder would
// destroy it.
func lockFile(*os.File) error { return errors.ErrUnsupported }
