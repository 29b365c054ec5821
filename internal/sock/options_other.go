//go:build !linux

package sock

import (
	"net/netip"
	"time"
)

// SetNoDelay answers ErrUnsupported.
func SetNoDelay(int, bool) error { return ErrUnsupported }

// SetKeepAlive answers ErrUnsupported.
func SetKeepAlive(int) error { return ErrUnsupported }

// SetKeepAliveTimes answers ErrUnsupported.
func SetKeepAliveTimes(int, bool, time.Duration, time.Duration, int) error { return ErrUnsupported }

// SetReadBuffer answers ErrUnsupported.
func SetReadBuffer(int, int) error { return ErrUnsupported }

// SetWriteBuffer answers ErrUnsupported.
func SetWriteBuffer(int, int) error { return ErrUnsupported }

// Membership answers ErrUnsupported.
func Membership(int, netip.Addr, int, bool) error { return ErrUnsupported }

// SetMulticastTTL answers ErrUnsupported.
func SetMulticastTTL(int, int) error { return ErrUnsupported }

// SetMulticastLoopback answers ErrUnsupported.
func SetMulticastLoopback(int, bool) error { return ErrUnsupported }

// SetPipeSize answers ErrUnsupported.
func SetPipeSize(int, int) error { return ErrUnsupported }
