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
	if _, err := NameOf(&net.IPAddr{}); !errors.Is(err, unix.EAFNOSUPPORT) || !strings.Contains(err.Error(), "*net.IPAddr") {
		t.Error(err)
	}
	for _, f := range []Family{FamilyOf(&net.IPAddr{}), Family(0), Family(len(families) + 1)} {
		_, err := OpenDatagram(f)
		_, parse := f.Parse("127.0.0.1:1")
		if f.row() != nil || !errors.Is(err, unix.EAFNOSUPPORT) || !errors.Is(parse, unix.EAFNOSUPPORT) || f.Bursts() || f.Paths() || f.Domain() != 0 {
			t.Error(f, err, parse)
		}
	}
}

// A name of a family without a row is an error, and not taken for an IP address or a path.
func TestUnknownNames(t *testing.T) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for _, n := range []Name{{}, {Text: "3:1", Other: Family(len(families) + 1)}} {
		if err := Bind(fd, n); !errors.Is(err, unix.EAFNOSUPPORT) {
			t.Error(n, err)
		}
		if err := new(Sender).SendTo(fd, []byte("x"), n); !errors.Is(err, unix.EAFNOSUPPORT) {
			t.Error(n, err)
		}
		if n.Stream() != nil {
			t.Error(n, n.Stream())
		}
	}
	// A request of all links' states: the kernel answers at once.
	request := []byte{17, 0, 0, 0, 18, 0, 1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		t.Fatal(err)
	}
	_, from, err := ReadFrom(fd, make([]byte, 64<<10))
	if from != nil || !errors.Is(err, unix.EAFNOSUPPORT) || !strings.Contains(err.Error(), "family 16") {
		t.Errorf("from %v, %v", from, err)
	}
}

// Each row is found by its domain and by its addresses, in all three forms.
func TestFamilies(t *testing.T) {
	for i, row := range families {
		if f, err := familyOfDomain(row.domain); f != Family(i+1) || f.Domain() != row.domain || err != nil {
			t.Error(row.text, f, err)
		}
	}
	var e encoder
	for _, a := range []net.Addr{
		&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1).To4(), Port: 7}, &net.TCPAddr{IP: net.ParseIP("fe80::1"), Port: 7, Zone: "lo"},
		&net.TCPAddr{IP: net.ParseIP("::1"), Port: 65535}, &net.UnixAddr{Name: "/a", Net: "unix"}, &net.UnixAddr{Name: "@abstract", Net: "unix"},
		&net.UnixAddr{Name: "/" + strings.Repeat("p", MaxPath-1), Net: "unix"}, &net.UnixAddr{Name: "@" + strings.Repeat("p", MaxPath-1), Net: "unix"},
	} {
		n, err := NameOf(a)
		if err != nil {
			t.Fatal(a, err)
		}
		var b [maxName]byte
		size := e.encode(b[:], n)
		back, err := takeStream(b[:size])
		if err != nil || back.String() != a.String() || back.Network() != a.Network() || FamilyOf(a) != n.Family() {
			t.Errorf("%v: %v %v, %v", a, n, back, err)
		}
	}
	if n := e.encode(make([]byte, maxName), PathName("/"+strings.Repeat("p", MaxPath))); n != 0 {
		t.Error("a path that is too long was written:", n)
	}
}
