package transportactors

import (
	"errors"
	"strings"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
)

// FuzzParseAddr: an address is refused with ErrInvalidArgument, or its text is
// parsed to the same address again and fits its network.
func FuzzParseAddr(f *testing.F) {
	for _, seed := range [][2]string{
		{"udp", "127.0.0.1:53"}, {"udp6", "[::1]:0"}, {"udp6", "[fe80::1%eth0]:65535"}, {"udp4", "[::ffff:1.2.3.4]:1"},
		{"udp", "localhost:1"}, {"udp", "1.2.3.4:65536"}, {"udp", "1.2.3.4:-1"}, {"udp", ":1"}, {"udp", ""},
		{"unixgram", "/tmp/socket"}, {"unixgram", "@abstract"}, {"unixgram", "\x00abstract"}, {"unixgram", "a\x00b"},
		{"unixgram", strings.Repeat("p", 107)}, {"unixgram", strings.Repeat("p", 108)}, {"unixgram", ""}, {"tcp", "1.2.3.4:1"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, network, text string) {
		a, err := ParseAddr(network, text)
		if err != nil {
			if !errors.Is(err, loopnode.ErrInvalidArgument) || a.IsValid() {
				t.Fatalf("%q %q: %v with %v", network, text, err, a)
			}
			return
		}
		again, err := ParseAddr(network, a.String())
		if err != nil || again != a || !a.IsValid() {
			t.Fatalf("%q %q is %q, which is %v, %v", network, text, a, again, err)
		}
		if !strings.HasPrefix(network, a.Network()) || (a.Path() != "") == a.AddrPort().IsValid() {
			t.Fatalf("%q %q is of network %s", network, text, a.Network())
		}
		if four := a.AddrPort().Addr().Is4(); network == "udp4" && !four || network == "udp6" && four {
			t.Fatalf("%q has %v", network, a)
		}
		d := &datagram{family: a.name.Family()}
		if to, err := d.destination(a.name); err != nil || to != a.name {
			t.Fatalf("%v cannot be sent to: %v, %v", a, to, err)
		}
	})
}
