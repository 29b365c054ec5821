package serve

import (
	"fmt"
	"net"

	"github.com/panjf2000/gnet/v2"
)

type gnetEcho struct {
	gnet.BuiltinEventEngine
	address string
}

func (g *gnetEcho) OnBoot(gnet.Engine) gnet.Action {
	fmt.Println(g.address)
	return gnet.None
}

func (g *gnetEcho) OnTraffic(c gnet.Conn) gnet.Action {
	b, _ := c.Next(-1)
	_, _ = c.Write(b)
	return gnet.None
}

// Gnet echoes on one of gnet's event loops.
func Gnet(address string) error {
	ln, err := net.Listen("tcp", address) // gnet does not say which port it was given
	if err != nil {
		return err
	}
	at := ln.Addr().String()
	if err := ln.Close(); err != nil {
		return err
	}
	return gnet.Run(&gnetEcho{address: at}, "tcp://"+at, gnet.WithNumEventLoop(1), gnet.WithReuseAddr(true), gnet.WithLogLevel(4))
}
