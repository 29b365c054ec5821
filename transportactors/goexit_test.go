package transportactors

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
)

// exits sets one method of a probe to leave by runtime.Goexit.
func exits(method string, p *probe) {
	switch method {
	case "ConnectionMade":
		p.onMade = func(Transport) { runtime.Goexit() }
	case "DataReceived":
		p.onData = func([]byte) { runtime.Goexit() }
	case "EOFReceived":
		p.onEOF = func() bool { runtime.Goexit(); return true }
	case "PauseWriting", "ResumeWriting":
		p.onData = func([]byte) { _ = p.t.Write(make([]byte, 16<<20)) }
		if p.onPause = runtime.Goexit; method == "ResumeWriting" {
			p.onPause, p.onResume = nil, runtime.Goexit
		}
	case "ConnectionLost":
		p.onLost = func(error) { runtime.Goexit() }
	}
}

func TestMethodExits(t *testing.T) {
	w := theTLSWorld()
	secure := map[string]struct {
		server []ServerOption
		client []ConnectOption
	}{"TCP": {}, "TLS": {[]ServerOption{WithTLS(w.serverConfig())}, []ConnectOption{WithTLS(w.clientConfig()), WithServerHostname("localhost")}}}
	for kind, opts := range secure {
		for _, method := range []string{"ConnectionMade", "DataReceived", "EOFReceived", "PauseWriting", "ResumeWriting", "ConnectionLost"} {
			t.Run(kind+": "+method+" that calls runtime.Goexit ends its own connection", func(t *testing.T) {
				methodExits(t, method, opts.server, opts.client)
			})
		}
	}
}

func methodExits(t *testing.T, method string, server []ServerOption, client []ConnectOption) {
	inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
		p := newProbe(ctx)
		exits(method, p)
		s, err := CreateServer(ctx, func() Protocol { return p }, "tcp", "127.0.0.1:0", server...)
		if err != nil {
			return err
		}
		defer s.Close()
		tr, here, err := CreateConnection(ctx, func() *probe { return newProbe(ctx) }, "tcp", s.Addrs()[0].String(), client...)
		if err != nil {
			return err
		}
		_ = tr.Write([]byte("x"))
		if method == "EOFReceived" || method == "ConnectionLost" {
			tr.Close()
		}
		reason := p.wait(ctx)
		if method != "ConnectionLost" && !errors.Is(reason, loopnode.ErrGoexit) {
			return fmt.Errorf("the reason is %v after %v", reason, p.log)
		}
		tr.Abort()
		_ = here.wait(ctx)
		if n := len(slices.DeleteFunc(p.log, func(s string) bool { return s != "lost" })); n != 1 || len(*told) != 1 {
			return fmt.Errorf("lost %d times; the exception handler heard %v", n, *told)
		}
		return nil
	})
}

func TestClientMethodExits(t *testing.T) {
	t.Run("CreateConnection tells that ConnectionMade called runtime.Goexit", func(t *testing.T) {
		serving(t, func(ctx context.Context, p *probe, s *Server, _ *[]loopnode.ExceptionContext) error {
			_, _, err := CreateConnection(ctx, func() *probe {
				here := newProbe(ctx)
				exits("ConnectionMade", here)
				return here
			}, "tcp", s.Addrs()[0].String())
			if !errors.Is(err, loopnode.ErrGoexit) {
				return fmt.Errorf("got %w", err)
			}
			return p.wait(ctx)
		})
	})
}
