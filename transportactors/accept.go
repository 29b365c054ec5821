package transportactors

import (
	"errors"
	"net"
	"syscall"
	"time"

	"github.com/loopmesh/loopmesh/internal/guard"
	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/loopnode"
)

// acceptPause is how long a listener rests when descriptors have run out.
const acceptPause = time.Second

// listener is one listening socket of a server. Owned by the loop goroutine.
type listener struct {
	server *Server
	fd     int // -1 once closed
	addr   net.Addr
	watch  *loopnode.Watch
	retry  *loopnode.TimerHandle // set while it rests
	accept func(fd int) (int, error)
}

func newListener(s *Server, fd int) *listener {
	return &listener{server: s, fd: fd, addr: sock.LocalAddr(fd), accept: sock.Accept}
}

func (ln *listener) open() error {
	if ln.watch != nil {
		return nil
	}
	if err := sock.Listen(ln.fd, max(ln.server.backlog, 1)); err != nil {
		return err
	}
	w, err := ln.server.loop.Watch(ln.fd, ln.onReadable, func() {})
	if err != nil {
		return err
	}
	ln.watch = w
	return w.Set(true, false)
}

func (ln *listener) close() {
	if ln.fd < 0 {
		return
	}
	if ln.watch != nil {
		ln.watch.Close()
	}
	if ln.retry != nil {
		ln.retry.Cancel()
	}
	_ = sock.Close(ln.fd)
	ln.fd = -1
}

// onReadable accepts at most backlog+1 clients, then lets the loop do other things.
func (ln *listener) onReadable() {
	for range ln.server.backlog + 1 {
		if ln.fd < 0 {
			return // a factory closed the server
		}
		fd, err := ln.accept(ln.fd)
		switch {
		case err == nil:
			ln.server.welcome(fd)
		case errors.Is(err, syscall.ECONNABORTED):
			continue
		case sock.WouldBlock(err):
			return
		default:
			ln.rest(err)
			return
		}
	}
}

// rest stops watching for a while: the clients wait in the backlog, and the loop
// does not spin.
func (ln *listener) rest(err error) {
	message := "socket.accept() out of system resource"
	if !sock.Exhausted(err) {
		message = "Accept failed on a socket"
	}
	ln.server.loop.CallExceptionHandler(loopnode.ExceptionContext{
		Message: message, Exception: err, Extra: map[string]any{"socket": ln.addr},
	})
	if ln.fd < 0 {
		return
	}
	_ = ln.watch.Set(false, false)
	ln.retry = ln.server.loop.CallLater(acceptPause, func() {
		ln.retry = nil
		_ = ln.watch.Set(true, false)
	})
}

// welcome makes the connection of an accepted socket.
func (s *Server) welcome(fd int) {
	var p Protocol
	if fault := guard.Call(func() { p = s.factory() }); fault != nil {
		_ = sock.Close(fd)
		s.refused("Exception in the protocol factory of a server", fault)
		return
	}
	if p == nil {
		_ = sock.Close(fd)
		s.refused("The protocol factory of a server returned nil", loopnode.ErrInvalidArgument)
		return
	}
	c, err := newConn(s.loop, fd, p)
	if err != nil {
		s.refused("Error on transport creation for incoming connection", err)
		return
	}
	c.server = s
	s.conns[c] = struct{}{}
	c.start(nil)
}

func (s *Server) refused(message string, err error) {
	s.loop.CallExceptionHandler(loopnode.ExceptionContext{Message: message, Exception: err})
}
