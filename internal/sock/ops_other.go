//go:build !linux

package sock

import "net"

// IsNonblocking answers ErrUnsupported.
func IsNonblocking(int) (bool, error) { return false, ErrUnsupported }

// Duplicate answers ErrUnsupported.
func Duplicate(int) (int, error) { return -1, ErrUnsupported }

// Same is false.
func Same(int, int) bool { return false }

// Describe answers ErrUnsupported.
func Describe(int) (family, kind, proto int, err error) { return 0, 0, 0, ErrUnsupported }

// Type answers ErrUnsupported.
func Type(int) (int, error) { return 0, ErrUnsupported }

// Listening is false.
func Listening(int) bool { return false }

// ReadFrom answers ErrUnsupported.
func ReadFrom(int, []byte) (int, net.Addr, error) { return 0, nil, ErrUnsupported }

// WriteTo answers ErrUnsupported.
func WriteTo(int, []byte, net.Addr) error { return ErrUnsupported }

// Connect answers ErrUnsupported.
func Connect(int, net.Addr) error { return ErrUnsupported }

// Connected is false.
func Connected(int) bool { return false }

// AcceptFrom answers ErrUnsupported.
func AcceptFrom(int) (int, net.Addr, error) { return -1, nil, ErrUnsupported }

// Sendfile answers ErrUnsupported.
func Sendfile(int, int, int64, int) (int, error) { return 0, ErrUnsupported }
