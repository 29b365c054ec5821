package sock

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

func TestZone(t *testing.T) {
	t.Run("a zone that is a number is that interface, also of a stream socket", func(t *testing.T) {
		_, sa, err := sockaddr(&net.TCPAddr{IP: net.ParseIP("fe80::1"), Port: 1, Zone: "7"})
		if v6, ok := sa.(*unix.SockaddrInet6); err != nil || !ok || v6.ZoneId != 7 {
			t.Errorf("got %+v, %v", sa, err)
		}
	})
}
