package main

import (
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// TestHalfAFrame: a client that begins a frame and stands is cut off like a silent one, whether it
// stands in the header or in the message.
func TestHalfAFrame(t *testing.T) {
	w := openTown(t, 1, func(l *limits) { l.ping = 100 * time.Millisecond })
	whole := text(`{"do":"join","room":"x"}`)
	for i, begun := range [][]byte{whole[:1], whole[:4], whole[:len(whole)-1], part(ws.OpText, false, `{"do":`)} {
		p := connect(t, w.at("n1"), fmt.Sprint("half", i))
		if _, err := p.Write(begun); err != nil {
			t.Fatal(err)
		}
		p.ping = nil // it stands
		var err error
		for err == nil {
			_, err = p.hear()
		}
	}
	connect(t, w.at("n1"), "somebody") // the gateway is well
}

// TestTwoThousandComeAndGo: half a thousand clients at a time, in every state of a connection, end
// it in every way. All are counted out, and no user is left.
func TestTwoThousandComeAndGo(t *testing.T) {
	w := openTown(t, 1, nil)
	at := w.at("n1")
	endings := []func(*net.TCPConn, string){
		func(*net.TCPConn, string) {},
		func(c *net.TCPConn, _ string) { _, _ = io.WriteString(c, "GET /ws HTTP/1.1\r\nHost: x\r\n") },
		func(c *net.TCPConn, user string) {
			_, _ = io.WriteString(c, "GET /ws?user="+user+ask[len("GET /ws?user=bob"):]+"\r\n")
		},
		func(c *net.TCPConn, user string) {
			_, _ = c.Write(join([]byte("GET /ws?user="+user+ask[len("GET /ws?user=bob"):]+"\r\n"), text(`{"do":"join","room":"x"}`), []byte{0x81}))
			_, _ = c.Read(make([]byte, 10)) // it is a client by now
		},
	}
	var crowd sync.WaitGroup
	for g := range 500 {
		crowd.Go(func() {
			for i := range 4 {
				c, err := net.Dial("tcp", at)
				if err != nil {
					t.Error(err)
					return
				}
				tcp := c.(*net.TCPConn)
				_ = tcp.SetDeadline(time.Now().Add(patience))
				endings[(g+i)%len(endings)](tcp, fmt.Sprintf("u%d.%d", g, i))
				if g%2 == 0 {
					_ = tcp.SetLinger(0) // a reset
				}
				_ = tcp.Close()
			}
		})
	}
	crowd.Wait()
	gate := w.gates["n1"]
	w.Eventually("nobody is counted", func() bool {
		left := make(chan int, 1)
		must(t, gate.loop.Ref().CallSoonThreadsafe(func() { left <- gate.conns + len(gate.users) + len(gate.rooms) }))
		return <-left == 0
	})
	connect(t, at, "somebody")
}
