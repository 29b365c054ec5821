package sock

import (
	"encoding/binary"
	"net"
	"testing"
)

func TestZone(t *testing.T) {
	t.Run("a zone that is a number is that interface, also of a stream socket", func(t *testing.T) {
		n, err := NameOf(&net.TCPAddr{IP: net.ParseIP("fe80::1"), Port: 1, Zone: "7"})
		b := make([]byte, maxName)
		new(encoder).encode(b, n)
		if zone := binary.NativeEndian.Uint32(b[24:]); err != nil || zone != 7 {
			t.Errorf("zone %d, %v", zone, err)
		}
	})
}
