package sock

import (
	"encoding/binary"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/loopmesh/loopmesh/internal/rawio"
)

// familyOfSocket is the family of the socket fd.
func familyOfSocket(fd int) (Family, error) {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return 0, err
	}
	return familyOfDomain(domain)
}

// familyOfName is the family of an address in the kernel's form, which may be none at
// all: then there is no family, and no error.
func familyOfName(b []byte) (Family, error) {
	if len(b) < 2 {
		return 0, nil
	}
	return familyOfDomain(int(binary.NativeEndian.Uint16(b)))
}

// takeName is an address in the kernel's form as a Name.
func takeName(b []byte) (Name, error) {
	f, err := familyOfName(b)
	return decode(f, b), err
}

// address is the kernel's form of one address.
type address struct {
	bytes [maxName]byte
	size  int
}

// set makes it that of n.
func (a *address) set(n Name) ([]byte, error) {
	if a.size = new(encoder).encode(a.bytes[:], n); a.size == 0 {
		return nil, notWritten(n)
	}
	return a.bytes[:a.size], nil
}

// notWritten is why n has no form that the kernel takes.
func notWritten(n Name) error {
	if n.Family().row() == nil {
		return unknownFamily(0)
	}
	return unix.EINVAL
}

func bind(fd int, n Name) error {
	var a address
	b, err := a.set(n)
	if err != nil {
		return err
	}
	return rawio.Bind(fd, b)
}

func connect(fd int, n Name) error {
	var a address
	b, err := a.set(n)
	if err != nil {
		return err
	}
	return rawio.Connect(fd, b)
}

// receiveFrom takes one datagram and says who sent it.
func receiveFrom(fd int, p []byte, flags int) (int, Name, error) {
	var from [maxName]byte
	n, size, err := rawio.ReceiveFrom(fd, p, from[:], flags)
	if err != nil {
		return n, Name{}, err
	}
	name, err := takeName(from[:size])
	return n, name, err
}

// LocalName is the address of fd itself.
func LocalName(fd int) Name {
	var a address
	n, _ := rawio.LocalName(fd, a.bytes[:]) // nothing written is no address
	name, _ := takeName(a.bytes[:n])
	return name
}

// PeerName is the address fd is connected to.
func PeerName(fd int) Name {
	var a address
	n, _ := rawio.PeerName(fd, a.bytes[:])
	name, _ := takeName(a.bytes[:n])
	return name
}

// LocalAddr is the stream socket's own address, nil when it has none.
func LocalAddr(fd int) net.Addr {
	var a address
	n, _ := rawio.LocalName(fd, a.bytes[:])
	out, _ := takeStream(a.bytes[:n])
	return out
}

// PeerAddr is the address of the other end of a stream socket, nil when it has none.
func PeerAddr(fd int) net.Addr {
	var a address
	n, _ := rawio.PeerName(fd, a.bytes[:])
	out, _ := takeStream(a.bytes[:n])
	return out
}

// takeStream is an address of a stream socket as package net shows it. Why not by its
// Name: the zero Name of a UNIX client that was not bound is an address, too.
func takeStream(b []byte) (net.Addr, error) {
	f, err := familyOfName(b)
	row := f.row()
	if row == nil {
		return nil, err
	}
	return row.toNet(decode(f, b), true), nil
}

// LocalAddrPort is the socket's own IP address and port; not valid when it has none.
func LocalAddrPort(fd int) netip.AddrPort { return LocalName(fd).AddrPort }
