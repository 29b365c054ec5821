package transportactors

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m, programs) }

func descriptors() int { return testkit.Descriptors() }

const patience = 20 * time.Second

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// inLoop runs fn as a task of a fresh loop; what the exception handler is told
// is in the list it gets.
func inLoop(t *testing.T, fn func(ctx context.Context, told *[]loopnode.ExceptionContext) error) {
	t.Helper()
	var told []loopnode.ExceptionContext
	pool := loopnode.NewPool(4)
	l, err := loopnode.New(loopnode.Config{
		Logger:           hclog.NewNullLogger(),
		Executor:         pool,
		ExceptionHandler: func(_ *loopnode.Loop, ec loopnode.ExceptionContext) { told = append(told, ec) },
	})
	must(t, err)
	defer func() { must(t, l.Close()) }()
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	_, err = loopnode.RunUntilComplete(l, loopnode.CreateTask(l.Context(ctx), "test", func(ctx context.Context) (int, error) {
		return 0, fn(ctx, &told)
	}))
	must(t, err)
	must(t, pool.Shutdown(ctx))
}

// aside runs fn away from the loop and waits for it.
func aside[T any](ctx context.Context, fn func() (T, error)) (T, error) {
	return loopnode.RunInExecutor(ctx, nil, fn).Await(ctx)
}

// probe is a protocol that records and does what a test sets.
type probe struct {
	t      Transport
	log    []string
	data   []byte
	reason error
	lost   *loopnode.Future[error]

	onMade   func(Transport)
	onData   func([]byte)
	onEOF    func() bool
	onPause  func()
	onResume func()
	onLost   func(error)
}

func newProbe(ctx context.Context) *probe {
	l, err := loopnode.Running(ctx)
	if err != nil {
		panic(err)
	}
	return &probe{lost: loopnode.NewFuture[error](l)}
}

func (p *probe) ConnectionMade(t Transport) {
	p.t = t
	p.log = append(p.log, "made")
	if p.onMade != nil {
		p.onMade(t)
	}
}

func (p *probe) DataReceived(b []byte) {
	p.log = append(p.log, "data")
	p.data = append(p.data, b...)
	if p.onData != nil {
		p.onData(b)
	}
}

func (p *probe) EOFReceived() bool {
	p.log = append(p.log, "eof")
	return p.onEOF != nil && p.onEOF()
}

func (p *probe) PauseWriting() {
	p.log = append(p.log, "pause")
	if p.onPause != nil {
		p.onPause()
	}
}

func (p *probe) ResumeWriting() {
	p.log = append(p.log, "resume")
	if p.onResume != nil {
		p.onResume()
	}
}

func (p *probe) ConnectionLost(err error) {
	p.log = append(p.log, "lost")
	p.reason = err
	_ = p.lost.SetResult(err)
	if p.onLost != nil {
		p.onLost(err)
	}
}

// wait waits for ConnectionLost and gives its reason.
func (p *probe) wait(ctx context.Context) error {
	reason, err := p.lost.Await(ctx)
	if err != nil {
		return err
	}
	return reason
}

// serve starts a server on loopback with one probe for every connection.
func serve(ctx context.Context, p *probe, opts ...ServerOption) (*Server, error) {
	return CreateServer(ctx, func() Protocol { return p }, "tcp", "127.0.0.1:0", opts...)
}

// serving is inLoop with such a server.
func serving(t *testing.T, fn func(ctx context.Context, p *probe, s *Server, told *[]loopnode.ExceptionContext) error) {
	t.Helper()
	inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
		p := newProbe(ctx)
		s, err := serve(ctx, p)
		if err != nil {
			return err
		}
		defer s.Close()
		return fn(ctx, p, s, told)
	})
}

// peer is a client made with package net.
func peer(s *Server) (*net.TCPConn, error) {
	c, err := net.DialTimeout("tcp", s.Addrs()[0].String(), patience)
	if err != nil {
		return nil, err
	}
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// talk sends text and returns what comes back until the end.
func talk(s *Server, text string) ([]byte, error) {
	c, err := peer(s)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil {
		return nil, err
	}
	if err := c.CloseWrite(); err != nil {
		return nil, err
	}
	return io.ReadAll(c)
}

// turns lets n turns pass.
func turns(ctx context.Context, n int) error {
	for range n {
		if err := loopnode.Sleep(ctx, 0); err != nil {
			return err
		}
	}
	return nil
}

// until lets turns pass until cond holds.
func until(ctx context.Context, cond func() bool) error {
	for !cond() {
		if err := turns(ctx, 1); err != nil {
			return err
		}
	}
	return nil
}
