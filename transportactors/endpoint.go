package transportactors

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/loopmesh/loopmesh/internal/loopaccess"
	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors/internal/base"
)

// endpoint is what every transport of a socket is made of: a descriptor, a
// protocol that is called with care, and one end. Owned by the loop goroutine.
type endpoint struct {
	base.Creation
	base.Calls
	self   whole
	loop   *loopnode.Loop
	watch  loopaccess.Watch
	socket Socket // its fd is -1 exactly when the descriptor is closed
	proto  receiver
	target *refTarget // made when somebody asks for a Ref

	local, peer net.Addr
	at, from    netip.AddrPort // they are local and peer of an accepted connection that nobody asked for

	state  state
	told   bool // ConnectionMade was called
	reason error
}

// whole is the transport around an endpoint.
type whole interface {
	base.Member
	base.Subject
	String() string
	whyPaused(size int) any
	WriteBufferSize() int
	drop() // forgets the output that is queued
	gone() // the protocol was told and the descriptor is closed
}

// open watches fd, which the endpoint owns from here on, also when it fails.
func (e *endpoint) open(onReadable, onWritable func()) error {
	w, err := loopaccess.Of(e.loop).Watch(e.socket.FD(), onReadable, onWritable)
	if err != nil {
		e.socket.letGo()
		return err
	}
	e.watch = w
	base.Enter(e.self)
	e.noteOpen()
	return nil
}

// notAnnounced is why the one who asked for the transport does not get it, once
// ConnectionMade had its turn: the protocol failed, or never heard of it because
// somebody aborted the transport first.
func (e *endpoint) notAnnounced() error {
	if err := base.OwnFault(e.reason); err != nil || e.told {
		return err
	}
	return fmt.Errorf("%w before it was announced: %s", ErrClosed, e.self)
}

// localAddr is the address of this end, nil when it has none.
func (e *endpoint) localAddr() net.Addr { return addrObject(&e.local, e.at) }

// peerAddr is the address of the other end, nil when it has none.
func (e *endpoint) peerAddr() net.Addr { return addrObject(&e.peer, e.from) }

// addrObject is the object that kept holds, made of a when somebody asks first.
func addrObject(kept *net.Addr, a netip.AddrPort) net.Addr {
	if *kept == nil && a.IsValid() {
		*kept = sock.TCPAddr(a)
	}
	return *kept
}

// describe names the transport in texts.
func (e *endpoint) describe(kind string) string {
	s := "<" + kind
	if local := e.localAddr(); local != nil {
		s += " " + local.String()
	}
	if peer := e.peerAddr(); peer != nil && peer.String() != "" { // a UNIX client has no name
		s += " peer " + peer.String()
	}
	if e.state >= stateClosing {
		s += " closing"
	}
	return s + ">"
}

// SetProtocol is described at Transport, as are the methods below.
func (e *endpoint) SetProtocol(p any) {
	if e.checkGoroutine("SetProtocol") == nil && e.state < stateEnded {
		e.proto = receiverOf(p)
	}
}

func (e *endpoint) Abort() {
	if e.checkGoroutine("Abort") == nil {
		e.Fail(nil)
	}
}

func (e *endpoint) Protocol() any        { return e.proto.value }
func (e *endpoint) Receiver() any        { return e.proto.value }
func (e *endpoint) Loop() *loopnode.Loop { return e.loop }
func (e *endpoint) IsClosing() bool      { return e.state >= stateClosing }
func (e *endpoint) Socket() *Socket      { return &e.socket }
func (*endpoint) sealed()                {}

// checkGoroutine refuses what another goroutine than the loop's does; debug mode only.
func (e *endpoint) checkGoroutine(method string) error { return checkGoroutine(e.loop, method) }

func checkGoroutine(l *loopnode.Loop, method string) error {
	if !l.Debug() {
		return nil
	}
	return loopaccess.Of(l).CheckGoroutine("Transport." + method + "; use Transport.Ref")
}

func (e *endpoint) ExtraInfo(name string) any {
	switch {
	case name == "socket":
		return &e.socket
	case name == "sockname" && e.localAddr() != nil:
		return e.local
	case name == "peername" && e.peerAddr() != nil:
		return e.peer
	case name == "pipe":
		return e.socket.kind.extra()
	case name == "peercred":
		return e.peerCred()
	case name == "paused":
		return e.self.whyPaused(e.self.WriteBufferSize())
	}
	return nil
}

// Fail ends the transport without sending what is queued. What the network did
// is logged in debug mode; anything else has been reported by who found it.
func (e *endpoint) Fail(reason error) {
	if errno := syscall.Errno(0); e.state < stateLosing && errors.As(reason, &errno) && e.loop.Debug() {
		e.loop.Logger().Debug("Fatal error on transport", "transport", e.self.String(), "error", reason)
	}
	e.enter(stateClosing)
	e.target.refuse(ErrClosed)
	e.lose(reason)
}

// lose queues the loss; the first reason counts.
func (e *endpoint) lose(reason error) {
	if e.state >= stateLosing {
		return
	}
	e.enter(stateLosing)
	e.reason = reason
	e.self.drop()
	e.watch.Close()
	if !e.loop.IsClosed() { // otherwise no turn comes, and LoopClosed follows
		e.loop.CallSoon(e.end)
	}
}

// end tells the protocol and closes the descriptor behind it, whatever it did.
func (e *endpoint) end() {
	if e.state == stateEnded {
		return
	}
	e.enter(stateEnded)
	defer e.release()
	if !e.told || e.proto.lost() == nil {
		return
	}
	e.Tell("ConnectionLost", func() { e.proto.lost().ConnectionLost(e.reason) })
}

func (e *endpoint) release() {
	e.noteClosed()
	e.socket.close()
	base.Leave(e.self)
	e.proto = receiver{}
	if e.target != nil {
		e.target.close(e.reason)
	}
	e.self.gone()
}

// LoopClosed ends the transport at once: no turn will come.
func (e *endpoint) LoopClosed() {
	e.reportUnclosed()
	e.enter(stateClosing)
	if e.state < stateLosing {
		e.enter(stateLosing)
		e.reason = e.loop.CloseReason()
		e.self.drop()
		e.watch.Close()
	}
	e.end()
}
