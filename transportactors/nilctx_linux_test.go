package transportactors

import (
	"context"
	"crypto/tls"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors/internal/testkit"
)

// nilCtxCalls are all exported functions that take a ctx, called without one.
// s and c are a server and a connection that are open.
func nilCtxCalls(s *Server, c *StreamProtocol, file *os.File) map[string]func() error {
	var none context.Context
	protocol := func() *nilCtxProtocol { return &nilCtxProtocol{} }
	handle := func(context.Context, *Stream) error { return nil }
	return map[string]func() error{
		"CreateConnection":     func() error { _, _, err := CreateConnection(none, protocol, "tcp", "127.0.0.1:1"); return err },
		"CreateUnixConnection": func() error { _, _, err := CreateUnixConnection(none, protocol, "/nowhere"); return err },
		"CreateServer":         func() error { _, err := CreateServer(none, protocol, "tcp", "127.0.0.1:0"); return err },
		"CreateUnixServer":     func() error { _, err := CreateUnixServer(none, protocol, "@loopmesh-nil-ctx"); return err },
		"CreateDatagramEndpoint": func() error {
			_, _, err := CreateDatagramEndpoint(none, func() nilCtxDatagrams { return nilCtxDatagrams{} }, "udp", "127.0.0.1:0", "")
			return err
		},
		"ConnectAcceptedSocket": func() error { _, _, err := ConnectAcceptedSocket(none, protocol, 1<<20); return err },
		"ConnectReadPipe":       func() error { _, _, err := ConnectReadPipe(none, protocol, file); return err },
		"ConnectWritePipe":      func() error { _, _, err := ConnectWritePipe(none, protocol, file); return err },
		"OpenConnection":        func() error { _, err := OpenConnection(none, "tcp", "127.0.0.1:1"); return err },
		"OpenUnixConnection":    func() error { _, err := OpenUnixConnection(none, "/nowhere"); return err },
		"StartServer":           func() error { _, err := StartServer(none, handle, "tcp", "127.0.0.1:0"); return err },
		"StartUnixServer":       func() error { _, err := StartUnixServer(none, handle, "@loopmesh-nil-ctx"); return err },
		"Sendfile":              func() error { _, err := Sendfile(none, c.t, strings.NewReader("x"), 0, 1); return err },
		"StartTLS":              func() error { _, err := StartTLS(none, c.t, c, &tls.Config{ServerName: "x"}, false); return err },
		"Server.WaitClosed":     func() error { return s.WaitClosed(none) },
		"Server.ServeForever":   func() error { return s.ServeForever(none) },
		"Stream.With":           func() error { _, err := c.Stream(none).With(none).Read(make([]byte, 1)); return err },
		"StreamProtocol.Stream": func() error { _, err := c.Stream(none).Read(make([]byte, 1)); return err },
		"Ref.WriteWait":         func() error { return c.t.Ref().WriteWait(none, []byte("x")) },
	}
}

func TestNilCtx(t *testing.T) {
	testkit.InLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
		s, err := CreateServer(ctx, func() *nilCtxProtocol { return &nilCtxProtocol{} }, "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer s.Close()
		_, c, err := CreateConnection(ctx, func() *StreamProtocol { return &StreamProtocol{} }, "tcp", s.Addrs()[0].String())
		if err != nil {
			return err
		}
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		defer r.Close()
		defer w.Close()
		for name, call := range nilCtxCalls(s, c, r) {
			err := call()
			if !errors.Is(err, loopnode.ErrNoRunningLoop) && !errors.Is(err, loopnode.ErrInvalidArgument) && !errors.Is(err, loopnode.ErrWrongGoroutine) {
				t.Errorf("%s with a nil ctx: %v", name, err)
			} else if !strings.Contains(err.Error(), "ctx") {
				t.Errorf("%s with a nil ctx does not say what to pass: %v", name, err)
			}
			if !s.IsServing() || c.t.IsClosing() {
				t.Fatalf("%s with a nil ctx closed the server or the connection", name)
			}
		}
		if len(*told) > 0 {
			t.Error(*told)
		}
		c.t.Abort()
		return nil
	})
}

// nilCtxProtocol does nothing, for streams.
type nilCtxProtocol struct{}

func (*nilCtxProtocol) ConnectionMade(Transport) {}
func (*nilCtxProtocol) DataReceived([]byte)      {}
func (*nilCtxProtocol) ConnectionLost(error)     {}

// nilCtxDatagrams does nothing, for datagrams.
type nilCtxDatagrams struct{}

func (nilCtxDatagrams) ConnectionMade(DatagramTransport) {}
func (nilCtxDatagrams) DatagramReceived([]byte, Addr)    {}
func (nilCtxDatagrams) ErrorReceived(error)              {}
func (nilCtxDatagrams) ConnectionLost(error)             {}
