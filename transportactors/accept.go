package transportactors

import (
	"errors"
	"math"
	"net"
	"net/netip"
	"syscall"
	"time"

	"github.com/loopmesh/loopmesh/internal/loopaccess"
	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/loopnode/report"
)

// acceptPause is how long a listener pauses when descriptors have run out.
const acceptPause = time.Second

// acceptMost bounds how many are accepted in one turn.
const acceptMost = 4096

// listener is one listening socket of a server. Owned by the loop goroutine.
type listener struct {
	server *Server
	socket *Socket // its fd is -1 exactly when the descriptor is closed
	addr   net.Addr
	file   *socketFile // of a path that this listener made
	watch  loopaccess.Watch
	retry  *loopnode.TimerHandle // set while it pauses
	accept func(fd int) (int, netip.AddrPort, error)
}

func newListener(s *Server, fd int) *listener {
	return &listener{server: s, socket: &Socket{kind: socketKind{}, number: int32(fd)}, addr: sock.LocalAddr(fd), accept: sock.Accept}
}

func (ln *listener) open() error {
	if ln.watch != nil {
		return nil
	}
	if err := sock.Listen(ln.socket.FD(), min(max(ln.server.backlog, 1), math.MaxInt32)); err != nil {
		return err
	}
	if networkOf(ln.addr).noDelay {
		_ = sock.SetNoDelay(ln.socket.FD(), true) // its connections inherit it
	}
	w, err := loopaccess.Of(ln.server.loop).Watch(ln.socket.FD(), ln.onReadable, func() {})
	if err != nil {
		return err
	}
	ln.watch = w
	return w.Set(true, false)
}

func (ln *listener) close() {
	if ln.socket.FD() < 0 {
		return
	}
	if ln.watch != nil {
		ln.watch.Close()
	}
	if ln.retry != nil {
		ln.retry.Cancel()
	}
	ln.file.remove(ln.server.loop) // before the socket: see there
	_ = sock.Close(ln.socket.FD())
	ln.socket.number = -1
}

// onReadable accepts up to backlog+1 clients, and no more than acceptMost, for one
// event. Then the connections that were made, timers and other sockets have their
// turn; the poller reports the listener again while clients wait.
func (ln *listener) onReadable() {
	for range min(ln.server.backlog, acceptMost) + 1 {
		if ln.socket.FD() < 0 {
			return // a factory closed the server
		}
		fd, from, err := ln.accept(ln.socket.FD())
		switch {
		case err == nil:
			ln.server.distribute(client{fd, from})
		case errors.Is(err, syscall.ECONNABORTED):
			continue
		case sock.WouldBlock(err):
			return
		default:
			ln.pause(err)
			return
		}
	}
}

// pause stops watching for a while: the clients wait in the backlog, and the loop
// does not spin.
func (ln *listener) pause(err error) {
	message := "socket.accept() out of system resource"
	if !sock.Exhausted(err) {
		message = "Accept failed on a socket"
	}
	ln.server.loop.CallExceptionHandler(loopnode.ExceptionContext{
		Kind: report.Server, Message: message, Exception: err, Extra: map[string]any{"socket": ln.addr},
	})
	if ln.socket.FD() < 0 {
		return
	}
	_ = ln.watch.Set(false, false)
	ln.retry = ln.server.loop.CallLater(acceptPause, func() {
		ln.retry = nil
		_ = ln.watch.Set(true, false)
	})
}

// client is a connected socket on its way to its transport.
type client struct {
	fd   int
	from netip.AddrPort // the other end, as accept told it; not valid: nobody told
}

// distribute gives an accepted socket to the next loop.
func (s *Server) distribute(c client) {
	s.count++
	for range s.serverLoops {
		b := s.serverLoops[s.next%len(s.serverLoops)]
		s.next++
		if b.accept(c) {
			return
		}
	}
	_ = sock.Close(c.fd)
	s.count--
	s.loop.CallExceptionHandler(loopnode.ExceptionContext{
		Kind: report.Server, Message: "A connection was refused: every loop of its server is closed", Exception: loopnode.ErrLoopClosed,
	})
}
