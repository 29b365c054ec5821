//go:build !linux

package sock

import "syscall"

// Look answers ErrUnsupported.
func Look(int) (Shape, error) { return Shape{}, ErrUnsupported }

// Own answers ErrUnsupported.
func Own(int) (int, bool, error) { return -1, false, ErrUnsupported }

// SetBlocking does nothing.
func SetBlocking(int) {}

// SetNonblocking answers ErrUnsupported.
func SetNonblocking(int) error { return ErrUnsupported }

// Blank answers ErrUnsupported.
func Blank(int) error { return ErrUnsupported }

// Pipe answers ErrUnsupported.
func Pipe() (int, int, error) { return -1, -1, ErrUnsupported }

// ReaderGone is false.
func ReaderGone(int, Kind) bool { return false }

// HungUp is false.
func HungUp(error) bool { return false }

// BrokenPipe is the error of writing to nobody.
var BrokenPipe error = syscall.EPIPE
