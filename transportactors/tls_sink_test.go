package transportactors

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
)

// sink is a lower transport whose kernel can be stuck. It is connected to a
// crypto/tls server by a pipe.
type sink struct {
	tlsLower
	loop  *loopnode.Loop
	flow  flow
	up    *tlsTransport
	wire  net.Conn
	stuck bool
	size  int
	rests bool // reading is paused
}

func (s *sink) putTLSUpon(*tlsTransport) bool { return false }
func (s *sink) Write(p []byte) error {
	if s.stuck {
		s.queue(len(p))
		return nil
	}
	_, err := s.wire.Write(p)
	return err
}
func (s *sink) Context() context.Context { return nil }
func (s *sink) PauseReading() error      { s.rests = true; return nil }
func (s *sink) ResumeReading() error     { s.rests = false; return nil }
func (s *sink) WriteBufferSize() int     { return s.size }
func (s *sink) IsClosing() bool          { return false }
func (s *sink) ExtraInfo(string) any     { return nil }
func (s *sink) SetWriteBufferLimits(high, low int) error {
	err := s.flow.limit(high, low)
	if s.flow.pause(s.size) {
		s.up.PauseWriting()
	}
	return err
}
func (s *sink) Abort() { s.up.ConnectionLost(nil) }

// Close drops what is queued: nothing takes it.
func (s *sink) Close() { s.Abort() }

func (s *sink) queue(n int) {
	s.size += n
	if s.flow.pause(s.size) {
		s.up.PauseWriting()
	}
}

func (s *sink) drain(to int) {
	s.size = to
	if s.flow.resume(s.size) {
		s.up.ResumeWriting()
	}
}

// overSink makes a TLS client over lower, whose handshake is complete.
func overSink(t *testing.T, ctx context.Context, lower *sink, p *probe) (client *tlsTransport, end func()) {
	t.Helper()
	return overSinkWith(t, ctx, lower, p, theTLSWorld().serverConfig())
}

// overSinkWith is overSink with the configuration of the server.
func overSinkWith(t testing.TB, ctx context.Context, lower *sink, p *probe, server *tls.Config) (client *tlsTransport, end func()) {
	t.Helper()
	near, far := net.Pipe()
	lower.wire = near
	setup, err := startSetup(theTLSWorld().clientConfig(), false, []StartTLSOption{WithServerHostname("localhost")})
	must(t, err)
	client = newTLS(lower.loop, setup, p)
	lower.up = client
	client.attach(lower)
	post := lower.loop.Ref()
	// goroutine: owner: the test; ends when the pipe is closed.
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, err := near.Read(buf)
			if err != nil {
				return
			}
			data := bytes.Clone(buf[:n])
			_ = post.CallSoonThreadsafe(func() {
				copy(client.GetBuffer(-1), data) // far writes less than there is room for
				client.BufferUpdated(len(data))
			})
		}
	}()
	// goroutine: owner: the test; ends when the pipe is closed.
	go func() {
		c := tls.Server(far, server)
		_, _ = io.Copy(io.Discard, c)
	}()
	must(t, client.doHandshake(ctx))
	client.made()
	return client, func() {
		_ = near.Close()
		_ = far.Close()
		client.Abort()
	}
}
