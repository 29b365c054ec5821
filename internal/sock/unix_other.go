//go:build !linux

package sock

import "io/fs"

// Orphaned is false.
func Orphaned(string) bool { return false }

// SetMode answers ErrUnsupported.
func SetMode(int, fs.FileMode) error { return ErrUnsupported }

// IsUnix is false.
func IsUnix(int) bool { return false }

// PeerCred answers ErrUnsupported.
func PeerCred(int) (pid, uid, gid int, err error) { return 0, 0, 0, ErrUnsupported }

// ShutdownRead answers ErrUnsupported.
func ShutdownRead(int) error { return ErrUnsupported }

// ControlSpace is 0.
func ControlSpace(int) int { return 0 }

// WriteFiles answers ErrUnsupported.
func WriteFiles(int, []byte, []int) (int, error) { return 0, ErrUnsupported }

// ReadFiles answers ErrUnsupported.
func ReadFiles(int, []byte, []byte) (int, []int, error) { return 0, nil, ErrUnsupported }
