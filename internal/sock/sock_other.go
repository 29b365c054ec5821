//go:build !linux

package sock

import (
	"net"
	"net/netip"
)

// Dial answers ErrUnsupported.
func Dial(net.Addr, net.Addr) (int, bool, error) { return -1, false, ErrUnsupported }

// Failure answers ErrUnsupported.
func Failure(int) error { return ErrUnsupported }

// OpenListener answers ErrUnsupported.
func OpenListener(net.Addr, ListenOptions) (int, error) { return -1, ErrUnsupported }

// Listen answers ErrUnsupported.
func Listen(int, int) error { return ErrUnsupported }

// Accept answers ErrUnsupported.
func Accept(int) (int, netip.AddrPort, error) { return -1, netip.AddrPort{}, ErrUnsupported }

// LocalAddrPort is not valid.
func LocalAddrPort(int) netip.AddrPort { return netip.AddrPort{} }

// Adopt answers ErrUnsupported.
func Adopt(int) error { return ErrUnsupported }

// Unread is 0.
func Unread(int) int { return 0 }

// Read answers ErrUnsupported.
func Read(int, []byte) (int, error) { return 0, ErrUnsupported }

// ReadStream answers ErrUnsupported.
func ReadStream(int, []byte) (int, error) { return 0, ErrUnsupported }

// WriteStream answers ErrUnsupported.
func WriteStream(int, []byte) (int, error) { return 0, ErrUnsupported }

// Write answers ErrUnsupported.
func Write(int, []byte) (int, error) { return 0, ErrUnsupported }

// Writev answers ErrUnsupported.
func Writev(int, [][]byte) (int, error) { return 0, ErrUnsupported }

// CloseWrite answers ErrUnsupported.
func CloseWrite(int) error { return ErrUnsupported }

// Close answers ErrUnsupported.
func Close(int) error { return ErrUnsupported }

// LocalAddr is nil.
func LocalAddr(int) net.Addr { return nil }

// PeerAddr is nil.
func PeerAddr(int) net.Addr { return nil }
