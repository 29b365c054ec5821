package transportactors

import (
	"context"
	"net"
	"net/netip"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
)

// mirror sends every datagram back.
type mirror struct{ t DatagramTransport }

func (m *mirror) ConnectionMade(t DatagramTransport)   { m.t = t }
func (m *mirror) DatagramReceived(b []byte, from Addr) { _ = m.t.SendTo(b, from) }
func (m *mirror) ErrorReceived(error)                  {}
func (m *mirror) ConnectionLost(error)                 {}
func loopback(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
}
func listenLoopback(b testing.TB) (c *net.UDPConn) {
	c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(loopback(0)))
	must(b, err)
	return c
}

// countProtocol is a mirror that counts.
type countProtocol struct {
	mirror
	got int
}

func (c *countProtocol) DatagramReceived(b []byte, from Addr) {
	c.got++
	c.mirror.DatagramReceived(b, from)
}

// TestDatagramAllocations: a packet costs no object, alone or in a burst, received,
// answered or sent.
func TestDatagramAllocations(t *testing.T) {
	inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
		peer := listenLoopback(t)
		defer peer.Close()
		from := peer.LocalAddr().(*net.UDPAddr).AddrPort()
		for name, remote := range map[string]string{"connected": from.String(), "not connected": ""} {
			tr, p, err := CreateDatagramEndpoint(ctx, func() *countProtocol { return &countProtocol{} }, "udp4", "127.0.0.1:0", remote)
			if err != nil {
				return err
			}
			d, to := tr.(*datagram), here(tr).AddrPort()
			d.onReadable() // it has seen an empty input, and has its memory, from here on
			message, back := make([]byte, 512), make([]byte, 512)
			for _, burst := range []int{1, 3, 8} {
				round := func() {
					before := p.got
					for range burst {
						_, err := peer.WriteToUDPAddrPort(message, to)
						must(t, err)
					}
					for p.got < before+burst {
						d.onReadable()
					}
					for range burst {
						_, _, err := peer.ReadFromUDPAddrPort(back)
						must(t, err)
					}
				}
				round() // the first large burst makes larger memory
				if n := testing.AllocsPerRun(100, round); n > 0 {
					t.Errorf("%s: %v allocations to receive and answer %d", name, n, burst)
				}
			}
			if n := testing.AllocsPerRun(100, func() { must(t, d.SendTo(message, UDPAddr(from))) }); n > 0 {
				t.Errorf("%s: %v allocations to send", name, n)
			}
			d.Abort()
		}
		return nil
	})
}
