//go:build !unix

// Package filelock locks files against other processes.
package filelock

import (
	"errors"
	"os"
)

// Take is refused where there is no flock: two owners of one file would destroy
// it.
func Take(*os.File) error { return errors.ErrUnsupported }
