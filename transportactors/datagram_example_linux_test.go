package transportactors_test

import (
	"context"
	"fmt"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

// pinger sends one datagram and closes with the answer.
type pinger struct {
	t      transportactors.DatagramTransport
	answer *loopnode.Future[string]
}

func (p *pinger) ConnectionMade(t transportactors.DatagramTransport) {
	p.t = t
	_ = t.Write([]byte("ping"))
}

func (p *pinger) DatagramReceived(data []byte, _ transportactors.Addr) {
	_ = p.answer.SetResult(string(data))
	p.t.Close()
}

func (p *pinger) ErrorReceived(err error) { fmt.Println("refused:", err) }
func (p *pinger) ConnectionLost(error)    {}

// ponger answers everybody.
type ponger struct {
	t transportactors.DatagramTransport
}

func (p *ponger) ConnectionMade(t transportactors.DatagramTransport) { p.t = t }
func (p *ponger) DatagramReceived(data []byte, from transportactors.Addr) {
	_ = p.t.SendTo([]byte("pong to "+string(data)), from)
}
func (p *ponger) ErrorReceived(error)  {}
func (p *ponger) ConnectionLost(error) {}

func ExampleCreateDatagramEndpoint() {
	err := loopnode.Run(context.Background(), func(ctx context.Context) error {
		server, _, err := transportactors.CreateDatagramEndpoint(ctx, func() *ponger { return &ponger{} }, "udp4", "127.0.0.1:0", "")
		if err != nil {
			return err
		}
		defer server.Close()
		l, err := loopnode.Running(ctx)
		if err != nil {
			return err
		}
		at := server.ExtraInfo("sockname").(transportactors.Addr)
		_, client, err := transportactors.CreateDatagramEndpoint(ctx, func() *pinger {
			return &pinger{answer: loopnode.NewFuture[string](l)}
		}, "udp4", "", at.String())
		if err != nil {
			return err
		}
		answer, err := client.answer.Await(ctx)
		fmt.Println(answer)
		return err
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output: pong to ping
}
