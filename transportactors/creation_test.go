package transportactors

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
)

type markKey struct{}

// marked is ctx with a mark.
func marked(ctx context.Context, mark string) context.Context {
	return context.WithValue(ctx, markKey{}, mark)
}

// markOf is the mark of a transport's ctx, which must belong to its loop and to
// no task.
func markOf(t *testing.T, tr interface {
	Loop() *loopnode.Loop
	Context() context.Context
}) any {
	ctx := tr.Context()
	if l, err := loopnode.Running(ctx); err != nil && !tr.Loop().IsClosed() || err == nil && l != tr.Loop() {
		t.Errorf("the ctx of a transport is of %v, %v", l, err)
	}
	if _, on := loopnode.CurrentTask(ctx); on || ctx.Done() != nil {
		t.Error("the ctx of a transport has a task, or an end")
	}
	return ctx.Value(markKey{})
}

// in runs fn in a task of another mark.
func in(ctx context.Context, mark string, fn func(ctx context.Context)) error {
	_, err := loopnode.CreateTask(marked(ctx, mark), mark, func(ctx context.Context) (int, error) { fn(ctx); return 0, nil }).Await(ctx)
	return err
}

func TestContexts(t *testing.T) {
	t.Run("CTX-02 CTX-04 a connection keeps the ctx it was made with, whoever resumes or closes it", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			var seen []any
			note := func(p *probe) {
				p.onMade = func(tr Transport) { seen = append(seen, markOf(t, tr)) }
				p.onData = func([]byte) { seen = append(seen, markOf(t, p.t)) }
				p.onPause = func() { seen = append(seen, markOf(t, p.t)) }
				p.onResume = p.onPause
				p.onEOF = func() bool { seen = append(seen, markOf(t, p.t)); return false }
				p.onLost = func(error) { seen = append(seen, markOf(t, p.t)) }
			}
			server, client := newProbe(ctx), newProbe(ctx)
			note(server)
			s, err := serve(marked(ctx, "server"), server)
			if err != nil {
				return err
			}
			tr, _, err := CreateConnection(marked(ctx, "client"), func() *probe { return client }, "tcp", s.Addrs()[0].String())
			if err != nil {
				return err
			}
			must(t, tr.SetWriteBufferLimits(0, 0))
			must(t, tr.PauseReading())
			var c Transport
			for c == nil {
				must(t, loopnode.Sleep(ctx, 0))
				c = server.t
			}
			must(t, in(ctx, "somebody", func(context.Context) {
				note(client)
				must(t, tr.ResumeReading())
				must(t, tr.Write(make([]byte, 16<<20))) // more than the kernel takes: pause, then resume
				must(t, c.Write([]byte("hello")))
			}))
			for len(client.data) == 0 || client.log[len(client.log)-1] != "resume" && len(server.data) < 16<<20 {
				must(t, loopnode.Sleep(ctx, 0))
			}
			must(t, in(ctx, "closer", func(context.Context) { tr.Close() }))
			must(t, client.wait(ctx))
			must(t, server.wait(ctx))
			counts := map[any]int{}
			for _, mark := range seen {
				counts[mark]++
			}
			if len(counts) != 2 || counts["server"] < 3 || counts["client"] < 3 {
				t.Errorf("seen %v; client %v, server %v", counts, client.log, server.log)
			}
			if tr.Context().Value(markKey{}) != "client" {
				t.Error("the ctx is gone with the connection")
			}
			s.Close()
			return s.WaitClosed(ctx)
		})
	})
	t.Run("CTX-03 a datagram endpoint sees its own ctx in every callback", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			p := &markedDatagrams{t: t}
			d, _, err := CreateDatagramEndpoint(marked(ctx, "mine"), func() *markedDatagrams { return p }, "udp", "127.0.0.1:0", "")
			if err != nil {
				return err
			}
			must(t, in(ctx, "somebody", func(context.Context) {
				must(t, d.SendTo([]byte("x"), d.ExtraInfo("sockname").(Addr)))
			}))
			for len(p.seen) < 2 {
				must(t, loopnode.Sleep(ctx, 0))
			}
			must(t, in(ctx, "closer", func(context.Context) { d.Close() }))
			for len(p.seen) < 3 {
				must(t, loopnode.Sleep(ctx, 0))
			}
			if want := "[made mine data mine lost mine]"; fmt.Sprint(p.seen) != want {
				t.Errorf("seen %v, want %v", p.seen, want)
			}
			return nil
		})
	})
	t.Run("a panic in a protocol is reported with the transport's ctx", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
			p := newProbe(ctx)
			p.onData = func([]byte) { panic("boom") }
			s, err := serve(marked(ctx, "server"), p)
			if err != nil {
				return err
			}
			_, _ = aside(ctx, func() ([]byte, error) { return talk(s, "x") })
			_ = p.wait(ctx)
			if len(*told) != 1 || (*told)[0].Context.Value(markKey{}) != "server" {
				t.Errorf("%v", *told)
			}
			s.Close()
			return s.WaitClosed(ctx)
		})
	})
}

type markedDatagrams struct {
	t    *testing.T
	d    DatagramTransport
	seen []string
}

func (p *markedDatagrams) note(what string) {
	p.seen = append(p.seen, fmt.Sprintf("%s %v", what, markOf(p.t, p.d)))
}
func (p *markedDatagrams) ConnectionMade(d DatagramTransport)   { p.d = d; p.note("made") }
func (p *markedDatagrams) DatagramReceived(b []byte, from Addr) { p.note("data") }
func (p *markedDatagrams) ErrorReceived(err error)              { p.note("error") }
func (p *markedDatagrams) ConnectionLost(err error)             { p.note("lost") }

func TestIncomingFailures(t *testing.T) {
	for _, debug := range []bool{false, true} {
		t.Run(fmt.Sprintf("DBG-09 a connection that cannot be set up is counted, and reported in debug mode: %v", debug), func(t *testing.T) {
			inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
				l, err := loopnode.Running(ctx)
				if err != nil {
					return err
				}
				l.SetDebug(debug)
				boom := errors.New("boom")
				n := 0
				s, err := CreateServer(ctx, func() Protocol {
					if n++; n == 1 {
						panic(boom)
					}
					return nil
				}, "tcp", "127.0.0.1:0")
				if err != nil {
					return err
				}
				for range 2 {
					if _, err := aside(ctx, func() ([]byte, error) { return talk(s, "") }); err != nil {
						t.Log("the client saw", err) // a reset, or an orderly end
					}
				}
				if s.Failed() != 2 {
					t.Errorf("%d counted", s.Failed())
				}
				switch {
				case !debug && len(*told) != 0:
					t.Errorf("reported without debug mode: %v", *told)
				case debug && (len(*told) != 2 || !errors.Is((*told)[0].Exception, boom) || !errors.Is((*told)[1].Exception, loopnode.ErrInvalidArgument)):
					t.Errorf("%v", *told)
				}
				for _, ec := range *told {
					if ec.Message != "Error on transport creation for incoming connection" {
						t.Error(ec.Message)
					}
				}
				s.Close()
				return s.WaitClosed(ctx)
			})
		})
	}
}
