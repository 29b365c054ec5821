package transportactors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"weak"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/loopnode"
)

// safeLog is a log that the collector's goroutine may write to.
type safeLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *safeLog) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *safeLog) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func TestUnclosed(t *testing.T) {
	t.Run("TRN-12 a transport dropped with its loop is reported and its descriptor closed", func(t *testing.T) {
		ours, theirs := socketPair(t)
		defer unix.Close(theirs)
		log := &safeLog{}
		transport, loop := abandon(t, log, func(ctx context.Context) (Transport, error) {
			tr, _, err := CreateConnection(ctx, func() *minimal { return &minimal{} }, "", "", WithSocket(ours))
			return tr, err
		})
		must(t, unix.SetsockoptTimeval(theirs, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 10_000}))
		ctx, stop := context.WithTimeout(t.Context(), patience)
		defer stop()
		for ended := false; !ended; {
			runtime.GC()
			n, err := unix.Read(theirs, make([]byte, 1)) // waits a little
			ended = n == 0 && err == nil
			must(t, ctx.Err())
		}
		if transport.Value() != nil || loop.Value() != nil {
			t.Error("the descriptor is closed and the transport or its loop still there")
		}
		if !strings.Contains(log.String(), "unclosed transport") {
			t.Errorf("the log says %q", log)
		}
	})
	t.Run("a pipe that is dropped gives others their blocking mode back", func(t *testing.T) {
		ours, theirs := socketPair(t)
		defer unix.Close(theirs)
		shared, err := unix.Dup(ours) // one description, so one flag
		must(t, err)
		defer unix.Close(shared)
		abandon(t, &safeLog{}, func(ctx context.Context) (Transport, error) {
			tr, _, err := ConnectReadPipe(ctx, func() *minimal { return &minimal{} }, os.NewFile(uintptr(ours), "shared"))
			if on, ferr := sock.IsNonblocking(shared); err == nil && (ferr != nil || !on) {
				err = fmt.Errorf("the flag is %v, %w", on, ferr)
			}
			return tr, err
		})
		ctx, stop := context.WithTimeout(t.Context(), patience)
		defer stop()
		for on := true; on; {
			runtime.GC()
			on, err = sock.IsNonblocking(shared)
			must(t, errors.Join(err, ctx.Err()))
		}
	})
	t.Run("TRN-12 a loop that closes first ends its transports, and tells in debug mode", func(t *testing.T) {
		for _, debug := range []bool{false, true} {
			log := &safeLog{}
			l, err := loopnode.New(loopnode.Config{Logger: hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Info}), Debug: debug})
			must(t, err)
			ours, theirs := socketPair(t)
			var p *probe
			_, err = loopnode.RunUntilComplete(l, loopnode.CreateTask(l.Context(t.Context()), "", func(ctx context.Context) (int, error) {
				_, p, err = CreateConnection(ctx, func() *probe { return newProbe(ctx) }, "", "", WithSocket(ours))
				return 0, err
			}))
			must(t, errors.Join(err, l.Close()))
			if n, err := unix.Read(theirs, make([]byte, 1)); n != 0 || err != nil || !errors.Is(p.reason, loopnode.ErrLoopClosed) {
				t.Errorf("the other end reads %d, %v; the reason is %v", n, err, p.reason)
			}
			if told := strings.Contains(log.String(), "unclosed transport"); told != debug {
				t.Errorf("debug %v, and the log says %q", debug, log)
			}
			must(t, unix.Close(theirs))
		}
	})
	t.Run("a transport that another close hook aborts or closes ends without a warning", func(t *testing.T) {
		for name, end := range map[string]func(Transport){"Abort": Transport.Abort, "Close": Transport.Close} {
			log := &safeLog{}
			l, err := loopnode.New(loopnode.Config{Logger: hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Info})})
			must(t, err)
			ours, theirs := socketPair(t)
			var tr Transport
			var p *probe
			l.OnClose(func() { end(tr) })
			_, err = loopnode.RunUntilComplete(l, loopnode.CreateTask(l.Context(t.Context()), "", func(ctx context.Context) (int, error) {
				tr, p, err = CreateConnection(ctx, func() *probe { return newProbe(ctx) }, "", "", WithSocket(ours))
				return 0, err
			}))
			must(t, errors.Join(err, l.Close()))
			if n, err := unix.Read(theirs, make([]byte, 1)); n != 0 || err != nil || !p.lost.Done() {
				t.Errorf("%s: the other end reads %d, %v; ConnectionLost came: %v", name, n, err, p.lost.Done())
			}
			if log.String() != "" {
				t.Errorf("%s: the log says %q", name, log)
			}
			must(t, unix.Close(theirs))
		}
	})
	t.Run("a transport that has ended is not reported", func(t *testing.T) {
		log := &safeLog{}
		ours, theirs := socketPair(t)
		defer unix.Close(theirs)
		l, err := loopnode.New(loopnode.Config{Logger: hclog.New(&hclog.LoggerOptions{Output: log})})
		must(t, err)
		var held weak.Pointer[conn]
		_, err = loopnode.RunUntilComplete(l, loopnode.CreateTask(l.Context(t.Context()), "", func(ctx context.Context) (int, error) {
			tr, p, err := CreateConnection(ctx, func() *probe { return newProbe(ctx) }, "", "", WithSocket(ours))
			if err != nil {
				return 0, err
			}
			held = weak.Make(tr.(*conn))
			tr.Close()
			return 0, p.wait(ctx)
		}))
		must(t, errors.Join(err, l.Close()))
		ctx, stop := context.WithTimeout(t.Context(), patience)
		defer stop()
		for held.Value() != nil {
			runtime.GC()
			must(t, ctx.Err())
		}
		runtime.GC()
		if strings.Contains(log.String(), "unclosed") {
			t.Errorf("the log says %q", log)
		}
	})
}

// abandon makes a connection on a loop and lets both go.
func abandon(t *testing.T, log *safeLog, connect func(context.Context) (Transport, error)) (weak.Pointer[conn], weak.Pointer[loopnode.Loop]) {
	t.Helper()
	l, err := loopnode.New(loopnode.Config{Logger: hclog.New(&hclog.LoggerOptions{Output: log})})
	must(t, err)
	var held weak.Pointer[conn]
	_, err = loopnode.RunUntilComplete(l, loopnode.CreateTask(l.Context(context.Background()), "", func(ctx context.Context) (int, error) {
		tr, err := connect(ctx)
		if err != nil {
			return 0, fmt.Errorf("connecting: %w", err)
		}
		held = weak.Make(tr.(*conn))
		return 0, nil
	}))
	must(t, err)
	return held, weak.Make(l)
}

// minimal has the methods that a Protocol needs, and no more.
type minimal struct{}

func (*minimal) ConnectionMade(Transport) {}
func (*minimal) DataReceived([]byte)      {}
func (*minimal) ConnectionLost(error)     {}
