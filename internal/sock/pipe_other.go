//go:build !linux

package sock

import "syscall"

// Look answers ErrUnsupported.
func Look(int) (Shape, error) { return Shape{}, ErrUnsupported }

// Own answers ErrUnsupported.
func Own(int) (int, bool, error) { return -1, false, ErrUnsupported }

// Blocking does nothing.
func Blocking(int) {}

// Nonblocking answers ErrUnsupported.
func Nonblocking(int) error { return ErrUnsupported }

// Blank answers ErrUnsupported.
func Blank(int) error { return ErrUnsupported }

// Pipe answers ErrUnsupported.
func Pipe() (int, int, error) { return -1, -1, ErrUnsupported }

// WritePlain answers ErrUnsupported.
func WritePlain(int, []byte) (int, error) { return 0, ErrUnsupported }

// WritevPlain answers ErrUnsupported.
func WritevPlain(int, [][]byte) (int, error) { return 0, ErrUnsupported }

// ReaderGone is false.
func ReaderGone(int, Kind) bool { return false }

// HungUp is false.
func HungUp(error) bool { return false }

// BrokenPipe is the error of writing to nobody.
var BrokenPipe error = syscall.EPIPE
