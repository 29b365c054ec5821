package transportactors

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"weak"

	"golang.org/x/sys/unix"

	"github.com/loopmesh/loopmesh/internal/guard"
	"github.com/loopmesh/loopmesh/internal/loopaccess"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors/internal/base"
)

// onPair runs fn with a transport over a pair of sockets whose other end is a
// bare descriptor.
func onPair(t *testing.T, fn func(ctx context.Context, p *probe, theirs int) error) {
	t.Helper()
	inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
		ours, theirs := socketPair(t)
		defer unix.Close(theirs)
		tr, p, err := CreateConnection(ctx, func() *probe { return newProbe(ctx) }, "", "", WithSocket(ours))
		if err != nil {
			return err
		}
		err = fn(ctx, p, theirs)
		tr.Abort()
		_ = p.wait(ctx)
		return err
	})
}

func TestCreate(t *testing.T) {
	t.Run("CON-01 the factory is called once, behind the connect, and ConnectionMade ran at the return", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			far := newProbe(ctx)
			s, err := serve(ctx, far)
			if err != nil {
				return err
			}
			at, calls := s.Addrs()[0].String(), 0
			factory := func() *probe { calls++; return newProbe(ctx) }
			tr, p, err := CreateConnection(ctx, factory, "tcp", at)
			if err != nil {
				return err
			}
			if calls != 1 || p.log[0] != "made" || p.t != tr || tr.ExtraInfo("peername").(fmt.Stringer).String() != at {
				return fmt.Errorf("%d calls, %v", calls, p.log)
			}
			tr.Abort()
			s.Close()
			_ = errors.Join(p.wait(ctx), far.wait(ctx))
			if _, _, err := CreateConnection(ctx, factory, "tcp", at); err == nil || calls != 1 {
				return fmt.Errorf("%w: a refused connect called the factory: %d calls", err, calls)
			}
			return nil
		})
	})
	t.Run("CON-03 a panic in ConnectionMade is returned and reported, and ends its connection alone", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
			s, good, far, err := pair(ctx)
			if err != nil {
				return err
			}
			defer s.Close()
			bad := newProbe(ctx)
			bad.onMade = func(Transport) { panic("planted") }
			tr, _, err := CreateConnection(ctx, func() *probe { return bad }, "tcp", s.Addrs()[0].String())
			var p *guard.Panic
			if !errors.As(err, &p) || p.Value != "planted" || tr != nil {
				return fmt.Errorf("got %v, %v", tr, err)
			}
			if reason := bad.wait(ctx); !errors.As(reason, &p) || len(*told) != 1 {
				return fmt.Errorf("the reason is %v; the handler heard %v", reason, *told)
			}
			far.lost = loopnode.NewFuture[error](s.loop) // the server's protocol served both
			_ = good.t.Write([]byte("fine"))
			return until(ctx, func() bool { return strings.HasSuffix(string(far.data), "fine") })
		})
	})
}

func TestServerLife(t *testing.T) {
	t.Run("SRV-02 serving starts once, shows, and not on a closed server", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			s, err := serve(ctx, newProbe(ctx), WithStartServing(false))
			if err != nil {
				return err
			}
			if l, _ := loopnode.Running(ctx); s.Loop() != l || s.IsServing() {
				return errors.New("another loop, or it serves already")
			}
			if err := errors.Join(s.StartServing(), s.StartServing()); err != nil || !s.IsServing() {
				return fmt.Errorf("it does not serve: %w", err)
			}
			s.Close()
			if err := s.StartServing(); !errors.Is(err, ErrClosed) || s.IsServing() {
				return fmt.Errorf("a closed server: %w", err)
			}
			return nil
		})
	})
	t.Run("SRV-16 waiting ends when the server is closed and its last connection gone, in either order", func(t *testing.T) {
		for _, first := range []string{"server", "connection"} {
			within(t, func(ctx context.Context, here, there *probe) error {
				s := there.t.(*conn).accepted.server
				waiter := loopnode.CreateTask(ctx, "", func(ctx context.Context) (int, error) { return 0, s.WaitClosed(ctx) })
				end := func(what string) {
					if what == "server" {
						s.Close()
					} else {
						here.t.Close()
					}
				}
				end(first)
				if first == "connection" {
					_ = errors.Join(here.wait(ctx), there.wait(ctx))
				}
				if err := turns(ctx, 5); err != nil || waiter.Done() {
					return fmt.Errorf("the wait ended behind the %s: %w", first, err)
				}
				end(map[string]string{"server": "connection", "connection": "server"}[first])
				if _, err := waiter.Await(ctx); err != nil {
					return err
				}
				done := loopnode.CreateTask(ctx, "", func(ctx context.Context) (int, error) { return 0, s.WaitClosed(ctx) })
				if err := turns(ctx, 1); err != nil || !done.Done() {
					return fmt.Errorf("a wait after the end waits: %w", err)
				}
				return nil
			})
		}
	})
	t.Run("SRV-19 a server that nobody holds serves on, and is let go once closed", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			at, held, stop, err := dropped(ctx)
			if err != nil {
				return err
			}
			runtime.GC()
			c, err := OpenConnection(ctx, "tcp", at)
			if err != nil {
				return err
			}
			if _, err := c.Read(make([]byte, 1)); err != nil {
				return err
			}
			if held.Value() == nil {
				return errors.New("the server was collected while it serves")
			}
			stop()
			_ = c.Close()
			if err := c.WaitClosed(); err != nil {
				return err
			}
			return until(ctx, func() bool { runtime.GC(); return held.Value() == nil })
		})
	})
	t.Run("SRV-20 every end of a connection counts down, and nothing of it is kept", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
			var ends []weak.Pointer[probe]
			next := 0
			s, err := CreateServer(ctx, func() Protocol {
				p := newProbe(ctx)
				switch next++; next {
				case 1:
					p.onLost = func(error) { panic("planted") }
				case 2:
					p.onMade = Transport.Abort
				case 3:
					p.onData = func([]byte) { panic("planted") }
				}
				ends = append(ends, weak.Make(p))
				return p
			}, "tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			for i := range 4 {
				if _, err := aside(ctx, func() (int, error) { _, err := talk(s, "x"); return 0, reset(err) }); err != nil {
					return fmt.Errorf("connection %d: %w", i, err)
				}
			}
			if err := until(ctx, func() bool { return s.count == 0 }); err != nil {
				return err
			}
			if kept := len(base.Members[*conn](s.loop)); next != 4 || kept != 0 {
				return fmt.Errorf("%d connections, %d are kept", next, kept)
			}
			*told = nil // the reports name their protocols
			for _, w := range ends {
				if err := until(ctx, func() bool { runtime.GC(); return w.Value() == nil }); err != nil {
					return fmt.Errorf("a protocol is kept: %w", err)
				}
			}
			s.Close()
			return s.WaitClosed(ctx)
		})
	})
	t.Run("ACC-03 the transport of an accepted socket owns it and counts for no server", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			s, err := serve(ctx, newProbe(ctx))
			if err != nil {
				return err
			}
			ours, theirs := socketPair(t)
			defer unix.Close(theirs)
			tr, p, err := ConnectAcceptedSocket(ctx, func() *probe { return newProbe(ctx) }, ours)
			if err != nil {
				return err
			}
			s.Close()
			if err := s.WaitClosed(ctx); err != nil || tr.(*conn).accepted != nil || tr.IsClosing() {
				return fmt.Errorf("a server has to do with it: %w", err)
			}
			tr.Close()
			if err := errors.Join(p.wait(ctx), turns(ctx, 1)); err != nil {
				return err
			}
			if _, err := unix.FcntlInt(uintptr(ours), unix.F_GETFD, 0); err != unix.EBADF {
				return fmt.Errorf("the descriptor is open: %v", err)
			}
			return nil
		})
	})
}

// dropped is a server that only its loop knows.
func dropped(ctx context.Context) (at string, held weak.Pointer[Server], stop func(), err error) {
	s, err := CreateServer(ctx, func() Protocol {
		p := newProbe(ctx)
		p.onMade = func(t Transport) { _ = t.Write([]byte("x")) }
		return p
	}, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", held, nil, err
	}
	held = weak.Make(s)
	return s.Addrs()[0].String(), held, func() { held.Value().Close() }, nil
}

func TestReads(t *testing.T) {
	t.Run("RDT-05 an event is one read of at most 256 KiB and one DataReceived", func(t *testing.T) {
		within(t, func(ctx context.Context, here, there *probe) error {
			_ = there.t.PauseReading()
			_ = here.t.Write(make([]byte, 4<<20))
			if err := turns(ctx, 50); err != nil { // the kernel's part moves over
				return err
			}
			most, turn, last := 0, 0, -1
			there.onData = func(b []byte) {
				most = max(most, len(b))
				if turn == last {
					panic("two reads in one turn")
				}
				last = turn
			}
			_ = there.t.ResumeReading()
			for len(there.data) < 4<<20 {
				turn++
				if err := turns(ctx, 1); err != nil {
					return err
				}
			}
			if most != 256<<10 {
				return fmt.Errorf("the largest read had %d bytes", most)
			}
			return nil
		})
	})
	t.Run("RDT-06 readiness without bytes is ignored", func(t *testing.T) {
		onPair(t, func(ctx context.Context, p *probe, theirs int) error {
			ours := p.t.ExtraInfo("socket").(*Socket).FD()
			if _, err := unix.Write(theirs, []byte("stolen")); err != nil {
				return err
			}
			if _, err := unix.Read(ours, make([]byte, 16)); err != nil {
				return err
			}
			p.t.(*conn).onReadable() // the event of the stolen bytes
			if err := turns(ctx, 3); err != nil || len(p.log) != 1 || p.t.IsClosing() {
				return fmt.Errorf("it heard %v: %w", p.log, err)
			}
			if _, err := unix.Write(theirs, []byte("next")); err != nil {
				return err
			}
			return until(ctx, func() bool { return string(p.data) == "next" })
		})
	})
	t.Run("RDT-07 what had arrived before a failed write is heard before the loss", func(t *testing.T) {
		onPair(t, func(ctx context.Context, p *probe, theirs int) error {
			_ = p.t.PauseReading()
			if _, err := unix.Write(theirs, []byte("bye")); err != nil {
				return err
			}
			if err := unix.Shutdown(theirs, unix.SHUT_RD); err != nil { // writing to it fails
				return err
			}
			_ = p.t.ResumeReading()
			inside := true
			p.onData = func([]byte) {
				if inside {
					panic("DataReceived inside Write")
				}
			}
			err := p.t.Write([]byte("x"))
			inside = false
			if !errors.Is(err, ErrClosed) || !errors.Is(err, syscall.EPIPE) {
				return fmt.Errorf("the write gave %w", err)
			}
			if reason := p.wait(ctx); !errors.Is(reason, syscall.EPIPE) || string(p.data) != "bye" || !slices.Equal(p.log, []string{"made", "data", "lost"}) {
				return fmt.Errorf("%q, %v, %w", p.data, p.log, reason)
			}
			return nil
		})
		for name, end := range map[string]func(*probe){
			"closed":  func(p *probe) { p.t.Close() },
			"aborted": func(p *probe) { p.t.Abort() },
		} {
			onPair(t, func(ctx context.Context, p *probe, theirs int) error {
				if _, err := unix.Write(theirs, []byte("bye")); err != nil {
					return err
				}
				if err := unix.Shutdown(theirs, unix.SHUT_RD); err != nil {
					return err
				}
				_ = p.t.Write([]byte("x"))
				end(p)
				_ = p.wait(ctx)
				if len(p.data) != 0 {
					return fmt.Errorf("%s, and %q was heard", name, p.data)
				}
				return nil
			})
		}
	})
	t.Run("PRO-06 bytes are lent in the loop's memory, and appending to them leaves it alone", func(t *testing.T) {
		onPair(t, func(ctx context.Context, p *probe, theirs int) error {
			lent := false
			p.onData = func(b []byte) {
				shared := loopaccess.Of(p.t.Loop()).ReadBuffer()
				lent = &b[0] == &shared[0] && len(b) == cap(b) && string(b) == "abc"
			}
			if _, err := unix.Write(theirs, []byte("abc")); err != nil {
				return err
			}
			if err := until(ctx, func() bool { return len(p.data) > 0 }); err != nil || !lent {
				return fmt.Errorf("lent %v, %w", lent, err)
			}
			return nil
		})
	})
	t.Run("BUF-04 an end and nothing to read are no updates, and the next event asks again", func(t *testing.T) {
		onPair(t, func(ctx context.Context, p *probe, theirs int) error {
			b := &bufferedProbe{probe: *p}
			b.lost = p.lost
			p.t.SetProtocol(b)
			c := p.t.(*conn)
			c.onReadable() // EAGAIN
			if b.asks != 1 || len(b.data) != 0 {
				return fmt.Errorf("asked %d times, %q", b.asks, b.data)
			}
			if _, err := unix.Write(theirs, []byte("now")); err != nil {
				return err
			}
			if err := until(ctx, func() bool { return string(b.data) == "now" }); err != nil || b.asks != 2 {
				return fmt.Errorf("asked %d times, %w", b.asks, err)
			}
			if err := unix.Shutdown(theirs, unix.SHUT_WR); err != nil {
				return err
			}
			if reason := p.wait(ctx); reason != nil || b.asks != 3 || string(b.data) != "now" || !slices.Equal(b.log[len(b.log)-2:], []string{"eof", "lost"}) {
				return fmt.Errorf("asked %d times, %v, %w", b.asks, b.log, reason)
			}
			return nil
		})
	})
	t.Run("BUF-05 the kind of a protocol is what its type can do, asked again with each SetProtocol", func(t *testing.T) {
		onPair(t, func(ctx context.Context, p *probe, theirs int) error {
			b := &bufferedProbe{probe: *newProbe(ctx)}
			for i, to := range []any{b, p, b, p} {
				p.t.SetProtocol(to)
				before := b.asks
				if _, err := unix.Write(theirs, []byte("abc")); err != nil {
					return err
				}
				if err := until(ctx, func() bool { return len(p.data)+len(b.data) == 3*(i+1) }); err != nil {
					return err
				}
				if buffered := b.asks > before; buffered != (to == any(b)) || slices.Contains(b.log, "data") {
					return fmt.Errorf("protocol %d: room was asked for: %v", i, buffered)
				}
			}
			return nil
		})
	})
	t.Run("BUF-06 bytes that are there already fill a small buffer in rounds; no room for the rest is an error", func(t *testing.T) {
		withinTLS(t, func(ctx context.Context, here, there *probe) error {
			b := &sips{probe: newProbe(ctx), rooms: []int{7, 7, 7, 4}}
			there.t.SetProtocol(b)
			if err := here.t.Write(pattern(20)); err != nil { // one record
				return err
			}
			if err := until(ctx, func() bool { return len(b.data) == 20 }); err != nil {
				return err
			}
			if !slices.Equal(b.got, []int{7, 7, 6}) || !slices.Equal(b.data, pattern(20)) {
				return fmt.Errorf("rounds of %v", b.got)
			}
			b.rooms = append(b.rooms, 5, 0)
			if err := here.t.Write(pattern(20)); err != nil {
				return err
			}
			if reason := b.wait(ctx); !errors.Is(reason, errEmptyBuffer) {
				return fmt.Errorf("the reason is %w", reason)
			}
			there.lost = b.lost
			return nil
		})
	})
	t.Run("BUF-03 a panic in BufferUpdated ends the connection with it", func(t *testing.T) {
		onPair(t, func(ctx context.Context, p *probe, theirs int) error {
			p.t.SetProtocol(&explodes{probe: p})
			if _, err := unix.Write(theirs, []byte("x")); err != nil {
				return err
			}
			var fault *guard.Panic
			if reason := p.wait(ctx); !errors.As(reason, &fault) || fault.Value != "planted" {
				return fmt.Errorf("the reason is %w", reason)
			}
			return nil
		})
	})
}

// sips is a buffered protocol with another room in each round.
type sips struct {
	*probe
	rooms, got []int
	room       []byte
}

func (s *sips) GetBuffer(int) []byte {
	s.room = make([]byte, s.rooms[0])
	s.rooms = s.rooms[1:]
	return s.room
}

func (s *sips) BufferUpdated(n int) {
	s.got = append(s.got, n)
	s.data = append(s.data, s.room[:n]...)
}

// explodes is a buffered protocol that panics.
type explodes struct{ *probe }

func (*explodes) GetBuffer(int) []byte { return make([]byte, 9) }
func (*explodes) BufferUpdated(int)    { panic("planted") }

func TestWrites(t *testing.T) {
	t.Run("WRT-01 a write is with the kernel at once, its rest behind, and it never blocks", func(t *testing.T) {
		onPair(t, func(ctx context.Context, p *probe, theirs int) error {
			if err := p.t.Write([]byte("now")); err != nil {
				return err
			}
			b := make([]byte, 8)
			if n, err := unix.Read(theirs, b); string(b[:n]) != "now" { // no turn has passed
				return fmt.Errorf("%q, %w", b[:n], err)
			}
			all := pattern(4 << 20)
			if err := p.t.Write(all); err != nil { // nobody reads
				return err
			}
			if left := p.t.WriteBufferSize(); left == 0 || left == len(all) {
				return fmt.Errorf("%d bytes wait", left)
			}
			got, err := aside(ctx, func() ([]byte, error) { return readN(theirs, len(all)) })
			if err != nil || !slices.Equal(got, all) || p.t.WriteBufferSize() != 0 {
				return fmt.Errorf("%d bytes came, %d wait, %w", len(got), p.t.WriteBufferSize(), err)
			}
			return nil
		})
	})
	t.Run("WRT-02 nothing to write is no event, but an error behind WriteEOF", func(t *testing.T) {
		onPair(t, func(_ context.Context, p *probe, _ int) error {
			if err := errors.Join(p.t.Write(nil), p.t.Write([]byte{}), p.t.Writelines(nil), p.t.Writelines([][]byte{nil})); err != nil {
				return err
			}
			if p.t.WriteBufferSize() != 0 || len(p.log) != 1 {
				return fmt.Errorf("%d bytes wait, %v", p.t.WriteBufferSize(), p.log)
			}
			_ = p.t.WriteEOF()
			if err := p.t.Write(nil); !errors.Is(err, ErrWriteEOF) {
				return fmt.Errorf("behind the end: %w", err)
			}
			return nil
		})
	})
	t.Run("WRT-09 the marks are 64 KiB and a quarter of that unless somebody says otherwise", func(t *testing.T) {
		onPair(t, func(_ context.Context, p *probe, _ int) error {
			for range 2 {
				if high, low := p.t.WriteBufferLimits(); low != 16<<10 || high != 64<<10 {
					return fmt.Errorf("low %d, high %d", low, high)
				}
				if err := errors.Join(p.t.SetWriteBufferLimits(9, 1), p.t.SetWriteBufferLimits(-1, -1)); err != nil {
					return err
				}
			}
			return nil
		})
	})
	t.Run("WRT-15 nothing waits for room once the queue is empty, also on the way to the end", func(t *testing.T) {
		onPair(t, func(ctx context.Context, p *probe, theirs int) error {
			fd := p.t.ExtraInfo("socket").(*Socket).FD()
			if watchesRoom(fd) {
				return errors.New("an idle transport waits for room")
			}
			_ = p.t.Write(make([]byte, 4<<20))
			if !watchesRoom(fd) {
				return errors.New("a full one does not")
			}
			if _, err := aside(ctx, func() ([]byte, error) { return readN(theirs, 4<<20) }); err != nil {
				return err
			}
			if err := until(ctx, func() bool { return p.t.WriteBufferSize() == 0 }); err != nil || watchesRoom(fd) {
				return fmt.Errorf("an empty one still waits: %w", err)
			}
			_ = p.t.Write(make([]byte, 4<<20))
			p.t.Close()
			if !watchesRoom(fd) {
				return errors.New("a closing one does not wait for room")
			}
			if _, err := aside(ctx, func() ([]byte, error) { return readN(theirs, 4<<20) }); err != nil {
				return err
			}
			if err := until(ctx, func() bool { return p.t.WriteBufferSize() == 0 }); err != nil || watchesRoom(fd) {
				return fmt.Errorf("a flushed one still waits: %w", err)
			}
			return p.wait(ctx)
		})
	})
	t.Run("TRN-14 errors of the system end quietly, others are reported with all they know", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
			ours, theirs := socketPair(t)
			tr, p, err := CreateConnection(ctx, func() *probe { return newProbe(ctx) }, "", "", WithSocket(ours))
			if err != nil {
				return err
			}
			_ = tr.Write(make([]byte, 4<<20))
			if err := unix.Close(theirs); err != nil {
				return err
			}
			if reason := p.wait(ctx); !errors.Is(reason, syscall.EPIPE) && !errors.Is(reason, syscall.ECONNRESET) || len(*told) != 0 || tr.WriteBufferSize() != 0 {
				return fmt.Errorf("%d bytes wait, told %v, %w", tr.WriteBufferSize(), *told, reason)
			}
			ours, theirs = socketPair(t)
			defer unix.Close(theirs)
			bad := newProbe(ctx)
			bad.onMade = func(Transport) { panic("planted") }
			_, _, _ = CreateConnection(ctx, func() *probe { return bad }, "", "", WithSocket(ours))
			_ = bad.wait(ctx)
			if len(*told) != 1 {
				return fmt.Errorf("told %v", *told)
			}
			ec := (*told)[0]
			if ec.Message != "Fatal error: protocol.ConnectionMade call failed." || ec.Transport != any(bad.t) || ec.Protocol != any(bad) || ec.Exception == nil {
				return fmt.Errorf("told %v", ec)
			}
			return nil
		})
	})
}

// readN reads n bytes from a blocking descriptor.
func readN(fd, n int) ([]byte, error) {
	b := make([]byte, n)
	for at := 0; at < n; {
		m, err := unix.Read(fd, b[at:])
		if err != nil && err != unix.EINTR {
			return b[:at], err
		}
		if err == nil && m == 0 {
			return b[:at], errors.New("it ended early")
		}
		at += max(m, 0)
	}
	return b, nil
}

// watchesRoom asks the kernel whether any poller of this process waits until fd
// can be written to.
func watchesRoom(fd int) bool {
	list, _ := os.ReadDir("/proc/self/fdinfo")
	for _, f := range list {
		info, _ := os.ReadFile("/proc/self/fdinfo/" + f.Name())
		for line := range strings.Lines(string(info)) {
			var n int
			var events uint32
			if _, err := fmt.Sscanf(line, "tfd: %d events: %x", &n, &events); err == nil && n == fd && events&unix.EPOLLOUT != 0 {
				return true
			}
		}
	}
	return false
}
