package conformance

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

func TestGoldenDatagrams(t *testing.T) {
	t.Run("datagrams both ways, empty ones, nobody there", func(t *testing.T) {
		golden(t, "g26_udp", func(t *testing.T, say func(...any)) { sideParts(t, say, udpBothWays, udpEmptyAndRefused) })
	})
}

// packets is golden/g26_udp.py's protocol.
type packets struct {
	*party
	t    transportactors.DatagramTransport
	read func(p *packets, b []byte, from transportactors.Addr)
}

func (p *packets) ConnectionMade(t transportactors.DatagramTransport) {
	p.t = t
	p.say("connection_made")
}

func (p *packets) DatagramReceived(b []byte, from transportactors.Addr) {
	p.say("datagram '" + string(b) + "'")
	if p.read != nil {
		p.read(p, b, from)
	}
}

func (p *packets) ErrorReceived(err error)     { p.say("error_received", why(err)) }
func (p *packets) ConnectionLost(reason error) { p.say("connection_lost", why(reason)) }

func endpoint(ctx context.Context, p *packets, local, remote string) error {
	_, _, err := transportactors.CreateDatagramEndpoint(ctx, func() *packets { return p }, "udp4", local, remote)
	return err
}

func udpBothWays(ctx context.Context, say func(...any)) error {
	there := &packets{party: &party{name: "server"}, read: func(p *packets, b []byte, from transportactors.Addr) {
		_ = p.t.SendTo([]byte(strings.ToUpper(string(b))), from)
	}}
	here := &packets{party: &party{name: "client"}}
	if err := endpoint(ctx, there, "127.0.0.1:0", ""); err != nil {
		return err
	}
	address := there.t.ExtraInfo("sockname").(transportactors.Addr)
	if err := endpoint(ctx, here, "", address.String()); err != nil {
		return err
	}
	here.say("peer:", pythonBool(here.t.ExtraInfo("peername") == any(address)),
		"the server has one:", pythonBool(there.t.ExtraInfo("peername") != nil))
	err := errors.Join(here.t.Write([]byte("one")), here.until(ctx, "datagram 'ONE'"),
		here.t.SendTo([]byte("two"), address), here.until(ctx, "datagram 'TWO'"))
	wrong, bad := transportactors.ParseAddr("udp4", "127.0.0.1:9")
	refused(here.party, here.t.SendTo([]byte("three"), wrong), loopnode.ErrInvalidArgument, "only the peer's address")
	here.t.Close()
	here.say("closing:", pythonBool(here.t.IsClosing()))
	err = errors.Join(err, bad, untilLost(ctx, here.party))
	tell(say, "both ways", there.party, here.party)

	there.lines = nil
	peer, bad := net.Dial("udp4", address.String())
	if bad != nil {
		return bad
	}
	for _, text := range []string{"", "behind"} {
		_, bad = peer.Write([]byte(text))
		err = errors.Join(err, bad)
	}
	err = errors.Join(err, peer.Close(), there.until(ctx, "datagram 'behind'"))
	there.t.Abort()
	there.say("aborted, waits:", there.t.WriteBufferSize())
	err = errors.Join(err, untilLost(ctx, there.party))
	tell(say, "an empty one arrives", there.party)
	return err
}

func udpEmptyAndRefused(ctx context.Context, say func(...any)) error {
	here := &packets{party: &party{name: "client"}}
	peer, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if err := endpoint(ctx, here, "", peer.LocalAddr().String()); err != nil {
		return err
	}
	err = errors.Join(here.t.Write(nil), here.t.Write([]byte("end")))
	room := make([]byte, 9)
	n, _, failed := peer.ReadFrom(room)
	here.say("the peer gets '" + string(room[:n]) + "' first")
	err = errors.Join(err, failed, peer.Close())
	tell(say, "an empty one leaves", here.party)

	here.lines = nil
	err = errors.Join(err, here.t.Write([]byte("anybody?")), here.until(ctx, "error_received ECONNREFUSED"))
	here.say("closing:", pythonBool(here.t.IsClosing()))
	here.t.Close()
	err = errors.Join(err, untilLost(ctx, here.party))
	tell(say, "nobody is there", here.party)
	return err
}
