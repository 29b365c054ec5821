package transportactors

import (
	"context"
	"net"
	"net/netip"
	"testing"

	"github.com/loopmesh/loopmesh/internal/sock"
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

// countProtocol only counts.
type countProtocol struct {
	mirror
	got int
}

func (c *countProtocol) DatagramReceived([]byte, Addr) { c.got++ }

func TestDatagramAllocations(t *testing.T) {
	inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
		peer := listenLoopback(t)
		defer peer.Close()
		from := peer.LocalAddr().(*net.UDPAddr).AddrPort()
		for _, c := range []struct {
			name, remote string
			allowed      float64
		}{
			{"connected", from.String(), 0},
			{"not connected: the sender's address, see sock.ReceiveFrom", "", 1},
		} {
			tr, p, err := CreateDatagramEndpoint(ctx, func() *countProtocol { return &countProtocol{} }, "udp4", "127.0.0.1:0", c.remote)
			if err != nil {
				return err
			}
			d, to := tr.(*datagram), here(tr).AddrPort()
			d.onReadable() // it has seen an empty input from here on
			message := make([]byte, 512)
			allocs := testing.AllocsPerRun(100, func() {
				before := p.got
				_, err := peer.WriteToUDPAddrPort(message, to)
				must(t, err)
				for p.got == before {
					d.onReadable()
				}
			})
			if allocs > c.allowed {
				t.Errorf("%s: %v allocations to receive", c.name, allocs)
			}
			allocs = testing.AllocsPerRun(100, func() { must(t, d.SendTo(message, UDPAddr(from))) })
			if allocs > 0 {
				t.Errorf("%s: %v allocations to send", c.name, allocs)
			}
			d.Abort()
		}
		return nil
	})
}

// BenchmarkReceive is what one datagram of 512 bytes costs the kernel and us.
func BenchmarkReceive(b *testing.B) {
	for name, read := range map[string]func(int, []byte) error{
		"from":      func(fd int, p []byte) error { _, _, err := sock.ReceiveFrom(fd, p); return err },
		"connected": func(fd int, p []byte) error { _, err := sock.Receive(fd, p); return err },
	} {
		b.Run(name, func(b *testing.B) {
			fd, err := sock.OpenDatagram(sock.IPv4)
			must(b, err)
			defer sock.Close(fd)
			must(b, sock.Bind(fd, sock.Name{AddrPort: loopback(0)}))
			peer := listenLoopback(b)
			defer peer.Close()
			to, message, buf := sock.LocalName(fd).AddrPort, make([]byte, 512), make([]byte, 1<<16)
			b.ReportAllocs()
			for i := 0; i < b.N; i += 16 {
				b.StopTimer()
				for range 16 {
					_, err := peer.WriteToUDPAddrPort(message, to)
					must(b, err)
				}
				b.StartTimer()
				for range 16 {
					must(b, read(fd, buf))
				}
			}
		})
	}
}
