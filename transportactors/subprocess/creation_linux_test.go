package subprocess

import (
	"context"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors/internal/testkit"
)

// markedChild notes the mark that each callback sees.
type markedChild struct {
	*childProbe
	t    *testing.T
	seen map[any]int
}

func (p *markedChild) see()                       { p.seen[markOf(p.t, p.childProbe.t)]++ }
func (p *markedChild) ConnectionMade(s Transport) { p.childProbe.ConnectionMade(s); p.see() }
func (p *markedChild) PipeDataReceived(fd int, b []byte) {
	p.see()
	p.seen[markOf(p.t, p.childProbe.t.PipeTransport(fd))]++
	p.childProbe.PipeDataReceived(fd, b)
}
func (p *markedChild) PipeConnectionLost(fd int, err error) {
	p.see()
	p.childProbe.PipeConnectionLost(fd, err)
}
func (p *markedChild) ProcessExited()           { p.see(); p.childProbe.ProcessExited() }
func (p *markedChild) ConnectionLost(err error) { p.see(); p.childProbe.ConnectionLost(err) }

func TestContextOfAChild(t *testing.T) {
	t.Run("CTX-03 a child process sees its own ctx in every callback", func(t *testing.T) {
		testkit.InLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			_, p, err := ExecProtocol(marked(ctx, "mine"), func() *markedChild {
				return &markedChild{childProbe: newChildProbe(ctx), t: t, seen: map[any]int{}}
			}, testkit.Program("cat"))
			if err != nil {
				return err
			}
			testkit.Must(t, in(ctx, "somebody", func(ctx context.Context) {
				testkit.Must(t, p.childProbe.t.PipeTransport(0).Write([]byte("hello")))
				testkit.Must(t, p.until(ctx, 1, "hello"))
				p.childProbe.t.PipeTransport(0).Close()
			}))
			testkit.Must(t, p.wait(ctx))
			if len(p.seen) != 1 || p.seen["mine"] < 8 {
				t.Errorf("seen %v, log %v", p.seen, p.log)
			}
			return nil
		})
	})
}

type markKey struct{}

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
	if l, err := loopnode.Running(ctx); err != nil || l != tr.Loop() {
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
