package badinput

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/loopmesh/loopmesh/loopnode"
	ta "github.com/loopmesh/loopmesh/transportactors"
)

// proto is a stream protocol that does what a row sets.
type proto struct {
	made func(ta.Transport)
	data func([]byte)
	lost func(error)
	end  *loopnode.Future[error]
}

func newProto(e *env) *proto { return &proto{end: loopnode.NewFuture[error](e.loop)} }

func (p *proto) ConnectionMade(t ta.Transport) {
	if p.made != nil {
		p.made(t)
	}
}

func (p *proto) DataReceived(b []byte) {
	if p.data != nil {
		p.data(b)
	}
}

func (p *proto) ConnectionLost(err error) {
	_ = p.end.SetResult(err)
	if p.lost != nil {
		p.lost(err)
	}
}

// over waits until the connection has ended and returns why.
func (p *proto) over(e *env) error {
	reason, err := p.end.Await(e.ctx)
	return errors.Join(err, reason)
}

// serve is a server on loopback whose connections do what set says, and what
// ends it with them.
func serve(e *env, set func(p *proto), opts ...ta.ServerOption) (address string, done func()) {
	s, err := ta.CreateServer(e.ctx, func() ta.Protocol {
		p := newProto(e)
		if set != nil {
			set(p)
		}
		return p
	}, "tcp", "127.0.0.1:0", opts...)
	if err != nil {
		e.Fatal(err)
	}
	return s.Addrs()[0].String(), func() {
		s.Close()
		s.AbortClients()
		if err := s.WaitClosed(e.ctx); err != nil {
			e.Error(err)
		}
	}
}

// connected runs do with both ends of a connection over loopback.
func connected(e *env, do func(near ta.Transport, p *proto) error, opts ...ta.ConnectOption) error {
	address, done := serve(e, nil)
	defer done()
	t, p, err := ta.CreateConnection(e.ctx, func() *proto { return newProto(e) }, "tcp", address, opts...)
	if err != nil {
		return err
	}
	err = do(t, p)
	t.Abort()
	if _, lost := p.end.Await(e.ctx); lost != nil {
		e.Error(lost)
	}
	return err
}

// connect is CreateConnection that has to fail.
func connect(network, address string, opts ...ta.ConnectOption) func(e *env) error {
	return func(e *env) error {
		t, p, err := ta.CreateConnection(e.ctx, func() *proto { return newProto(e) }, network, address, opts...)
		if err == nil {
			t.Abort()
			_, _ = p.end.Await(e.ctx)
			return nil
		}
		if t != nil {
			e.Errorf("%v beside %v", t, err)
		}
		return err
	}
}

// listen is CreateServer that has to fail.
func listen(network, address string, opts ...ta.ServerOption) func(e *env) error {
	return func(e *env) error {
		s, err := ta.CreateServer(e.ctx, func() ta.Protocol { return newProto(e) }, network, address, opts...)
		if err == nil {
			s.Close()
			return s.WaitClosed(e.ctx)
		}
		return second(s, err)
	}
}

// child runs fn in a task of its own, so that it may leave by Goexit.
func child(e *env, fn func(ctx context.Context) error) error {
	return second(task(e.ctx, fn).Await(e.ctx))
}

// freePort is an address of loopback where nobody listens.
func freePort(e *env) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		e.Fatal(err)
	}
	_ = ln.Close()
	return ln.Addr().String()
}

// socket makes one that the row closes, unless something else did.
func socket(e *env, domain, kind int) int {
	fd, err := syscall.Socket(domain, kind|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		e.Fatal(err)
	}
	return fd
}

// closedFD is a number that no descriptor has.
const closedFD = 987654

// tempFile is a regular file with a few bytes.
func tempFile(e *env) *os.File {
	f, err := os.CreateTemp(e.TempDir(), "")
	if err != nil {
		e.Fatal(err)
	}
	if _, err := f.WriteString(strings.Repeat("x", 100)); err != nil {
		e.Fatal(err)
	}
	return f
}

// packets is a datagram protocol that does nothing.
type packets struct{ errs []error }

func (*packets) ConnectionMade(ta.DatagramTransport) {}
func (*packets) DatagramReceived([]byte, ta.Addr)    {}
func (p *packets) ErrorReceived(err error)           { p.errs = append(p.errs, err) }
func (*packets) ConnectionLost(error)                {}

// datagrams is CreateDatagramEndpoint that has to fail.
func datagrams(network, local, remote string, opts ...ta.DatagramOption) func(e *env) error {
	return func(e *env) error {
		t, _, err := ta.CreateDatagramEndpoint(e.ctx, func() *packets { return &packets{} }, network, local, remote, opts...)
		if err == nil {
			t.Close()
			return nil
		}
		if t != nil {
			e.Errorf("%v beside %v", t, err)
		}
		return err
	}
}
