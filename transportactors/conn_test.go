package transportactors

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"syscall"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
)

func TestOrder(t *testing.T) {
	t.Run("CON-02 the await returns after ConnectionMade; data comes behind it", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			there := newProbe(ctx)
			there.onMade = func(t Transport) { _ = t.Write([]byte("welcome")) }
			s, err := serve(ctx, there)
			if err != nil {
				return err
			}
			defer s.Close()
			tr, here, err := CreateConnection(ctx, func() *probe { return newProbe(ctx) }, "tcp", s.Addrs()[0].String())
			if err != nil {
				return err
			}
			if !slices.Equal(here.log, []string{"made"}) && !slices.Equal(here.log, []string{"made", "data"}) {
				return fmt.Errorf("at return: %v", here.log)
			}
			if here.t != tr || tr.Protocol() != any(here) {
				return errors.New("transport and protocol do not know each other")
			}
			there.t.Close()
			if err := here.wait(ctx); err != nil {
				return err
			}
			if want := []string{"made", "data", "eof", "lost"}; !slices.Equal(here.log, want) || string(here.data) != "welcome" {
				return fmt.Errorf("got %v %q", here.log, here.data)
			}
			return nil
		})
	})
}

// pattern is n bytes that tell where they are.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

func TestReset(t *testing.T) {
	t.Run("TRN-06 a reset is the reason of the loss", func(t *testing.T) {
		serving(t, func(ctx context.Context, p *probe, s *Server, told *[]loopnode.ExceptionContext) error {
			_, err := aside(ctx, func() (int, error) {
				c, err := peer(s)
				if err != nil {
					return 0, err
				}
				return 0, errors.Join(c.SetLinger(0), c.Close())
			})
			if err != nil {
				return err
			}
			if reason := p.wait(ctx); !errors.Is(reason, syscall.ECONNRESET) {
				return fmt.Errorf("the reason is %v", reason)
			}
			if len(*told) != 0 {
				return fmt.Errorf("the exception handler heard %v", *told)
			}
			if err := p.t.Write([]byte("x")); !errors.Is(err, ErrClosed) {
				return fmt.Errorf("a write after the loss gave %v", err)
			}
			return nil
		})
	})
}

func reset(err error) error {
	if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ENOTCONN) {
		return nil
	}
	return err
}

func TestExtraInfo(t *testing.T) {
	t.Run("TRN-09 facts are kept beyond the end", func(t *testing.T) {
		serving(t, func(ctx context.Context, p *probe, s *Server, _ *[]loopnode.ExceptionContext) error {
			tr, here, err := CreateConnection(ctx, func() *probe { return newProbe(ctx) }, "tcp", s.Addrs()[0].String())
			if err != nil {
				return err
			}
			if fd := tr.ExtraInfo("socket").(*Socket).FD(); fd < 0 {
				return fmt.Errorf("descriptor %d", fd)
			}
			tr.Abort()
			if err := here.wait(ctx); err != nil {
				return err
			}
			if got := tr.ExtraInfo("peername").(*net.TCPAddr).String(); got != s.Addrs()[len(s.Addrs())-1].String() {
				return fmt.Errorf("peername %s", got)
			}
			if tr.ExtraInfo("sockname") == nil || tr.ExtraInfo("nothing") != nil {
				return errors.New("sockname or an unknown name")
			}
			return nil
		})
	})
}
