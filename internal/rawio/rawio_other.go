//go:build !linux

package rawio

import "errors"

// ErrUnsupported: this system has none of these calls.
var ErrUnsupported = errors.New("raw system calls are made on Linux only")

// Receive answers ErrUnsupported.
func Receive(int, []byte) (int, error) { return 0, ErrUnsupported }

// Send answers ErrUnsupported.
func Send(int, []byte) (int, error) { return 0, ErrUnsupported }
