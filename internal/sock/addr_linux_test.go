package sock

import (
	"errors"
	"net"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestUnknownFamilies(t *testing.T) {
	adoptDatagram := func(fd int) error { _, _, err := AdoptDatagram(fd); return err }
	adopted := 0
	for _, c := range []struct {
		domain, kind int
		adopt        func(fd int) error
	}{{unix.AF_NETLINK, unix.SOCK_DGRAM, adoptDatagram}, {unix.AF_VSOCK, unix.SOCK_STREAM, Adopt}} {
		fd, err := unix.Socket(c.domain, c.kind|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			continue // a kernel without this family
		}
		adopted++
		err = c.adopt(fd)
		if !errors.Is(err, unix.EAFNOSUPPORT) || !strings.Contains(err.Error(), "known are IPv4, IPv6, UNIX") {
			t.Errorf("family %d: %v", c.domain, err)
		}
		if on, err := IsNonblocking(fd); on || err != nil {
			t.Errorf("family %d: a socket that was refused was changed: %v, %v", c.domain, on, err)
		}
		_ = unix.Close(fd)
	}
	if adopted == 0 {
		t.Error("no kernel is without netlink: the test sees nothing")
	}
	if _, err := destination(&net.IPAddr{}); !errors.Is(err, unix.EAFNOSUPPORT) || !strings.Contains(err.Error(), "*net.IPAddr") {
		t.Error(err)
	}
	if f := FamilyOf(&net.IPAddr{}); f != 0 {
		t.Error(f)
	}
}

// Each row of the table is found by its number and by its addresses.
func TestFamilies(t *testing.T) {
	for i, f := range families {
		if int(f.family) != i+1 {
			t.Errorf("row %d is of family %d", i, f.family)
		}
		if domain, err := domainOf(f.family); domain != f.domain || err != nil {
			t.Error(f.text, domain, err)
		}
	}
	for _, a := range []net.Addr{
		&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1).To4(), Port: 7}, &net.TCPAddr{IP: net.ParseIP("fe80::1"), Port: 7, Zone: "lo"},
		&net.UnixAddr{Name: "/a", Net: "unix"},
	} {
		domain, sa, err := sockaddr(a)
		f := families[FamilyOf(a)-1]
		if back := netAddr(sa); err != nil || domain != f.domain || back.String() != a.String() || back.Network() != a.Network() {
			t.Errorf("%v: %d %v %v", a, domain, back, err)
		}
	}
}
