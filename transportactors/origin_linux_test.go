package transportactors

import (
	"context"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
)

// markedChild notes the mark that each callback sees.
type markedChild struct {
	*childProbe
	t    *testing.T
	seen map[any]int
}

func (p *markedChild) see()                                 { p.seen[markOf(p.t, p.childProbe.t)]++ }
func (p *markedChild) ConnectionMade(s SubprocessTransport) { p.childProbe.ConnectionMade(s); p.see() }
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
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			_, p, err := SubprocessExec(marked(ctx, "mine"), func() *markedChild {
				return &markedChild{childProbe: newChildProbe(ctx), t: t, seen: map[any]int{}}
			}, program("cat"))
			if err != nil {
				return err
			}
			must(t, in(ctx, "somebody", func(ctx context.Context) {
				must(t, p.childProbe.t.PipeTransport(0).Write([]byte("hello")))
				must(t, p.until(ctx, 1, "hello"))
				p.childProbe.t.PipeTransport(0).Close()
			}))
			must(t, p.wait(ctx))
			if len(p.seen) != 1 || p.seen["mine"] < 8 {
				t.Errorf("seen %v, log %v", p.seen, p.log)
			}
			return nil
		})
	})
}
