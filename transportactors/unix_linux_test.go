package transportactors

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/loopnode"
)

// unixServer starts a server with one probe for every connection.
func unixServer(ctx context.Context, path string, opts ...ServerOption) (*Server, *probe, error) {
	p := newProbe(ctx)
	s, err := CreateUnixServer(ctx, func() Protocol { return p }, path, opts...)
	return s, p, err
}

func unixClient(ctx context.Context, path string, opts ...ConnectOption) (Transport, *probe, error) {
	return CreateUnixConnection(ctx, func() *probe { return newProbe(ctx) }, path, opts...)
}

// bytesOf gives what a probe gets to whoever waits.
func (p *probe) total(ctx context.Context, n int) error {
	f := loopnode.NewFuture[struct{}](p.lost.Loop())
	p.onData = func([]byte) {
		if len(p.data) >= n && !f.Done() {
			_ = f.SetResult(struct{}{})
		}
	}
	if len(p.data) >= n {
		return nil
	}
	_, err := f.Await(ctx)
	return err
}

func TestUnixStreams(t *testing.T) {
	for _, path := range []string{place(t, "socket"), "@loopmesh-stream", "\x00loopmesh-stream-nul"} {
		t.Run(fmt.Sprintf("UNX-01 a path instead of a port, the same contract: %.9q", path), func(t *testing.T) {
			inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
				s, sp, err := unixServer(ctx, path)
				if err != nil {
					return err
				}
				tr, cp, err := unixClient(ctx, path)
				if err != nil {
					return err
				}
				sp.onData = func(b []byte) { must(t, sp.t.Write(append([]byte("re: "), b...))) }
				must(t, tr.Write([]byte("hello")))
				if err := cp.total(ctx, 9); err != nil {
					return err
				}
				name := strings.Replace(path, "\x00", "@", 1)
				if got := tr.ExtraInfo("peername").(*net.UnixAddr).Name; got != name {
					t.Errorf("peername %q", got)
				}
				if got := tr.ExtraInfo("sockname").(*net.UnixAddr).Name; got != "" {
					t.Errorf("sockname %q", got)
				}
				if got := sp.t.ExtraInfo("sockname").(*net.UnixAddr).Name; got != name {
					t.Errorf("sockname of the server's side %q", got)
				}
				tr.Close()
				s.Close()
				err = errors.Join(cp.wait(ctx), sp.wait(ctx), s.WaitClosed(ctx))
				if got := strings.Join(cp.log, " "); got != "made data lost" || string(cp.data) != "re: hello" {
					t.Errorf("%s %q", got, cp.data)
				}
				if got := strings.Join(sp.log, " "); got != "made data eof lost" {
					t.Errorf("%s", got)
				}
				return err
			})
		})
	}
	t.Run("UNX-02 path and socket exclude each other, one is needed, and it must be a UNIX stream socket", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			ours, theirs := socketPair(t)
			defer unix.Close(ours)
			defer unix.Close(theirs)
			inet := bound(t)
			defer unix.Close(inet)
			gram, err := sock.OpenDatagram(sock.Unix)
			must(t, err)
			defer unix.Close(gram)
			for _, c := range []struct {
				path   string
				socket int
			}{
				{"", -1}, {"/tmp/x", ours}, {"", inet}, {"", gram}, {strings.Repeat("x", 108), -1}, {"a\x00b", -1},
			} {
				var client []ConnectOption
				var server []ServerOption
				if c.socket >= 0 {
					client, server = append(client, WithSocket(c.socket)), append(server, WithSocket(c.socket))
				}
				_, _, err := unixClient(ctx, c.path, client...)
				_, _, err2 := unixServer(ctx, c.path, server...)
				_, err3 := OpenUnixConnection(ctx, c.path, client...)
				_, err4 := StartUnixServer(ctx, func(context.Context, *Stream) error { return nil }, c.path, server...)
				for i, err := range []error{err, err2, err3, err4} {
					if !errors.Is(err, loopnode.ErrInvalidArgument) {
						t.Errorf("path %q, call %d: %v", c.path, i, err)
					}
				}
			}
			if _, _, err := unixClient(ctx, place(t, "nothing")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("no such path: %v", err)
			}
			dead := place(t, "dead")
			orphan(t, dead)
			if _, _, err := unixClient(ctx, dead); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("nobody listens: %v", err)
			}
			return nil
		})
	})
	t.Run("UNX-08 a peer that fills the buffer and leaves at once loses nothing", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			path := place(t, "s")
			s, p, err := unixServer(ctx, path)
			if err != nil {
				return err
			}
			defer s.Close()
			fd, _, err := sock.Dial(&net.UnixAddr{Name: path, Net: "unix"}, nil)
			must(t, err)
			sent, block := 0, make([]byte, 64<<10)
			for i := range block {
				block[i] = byte(i * 7)
			}
			for { // without a turn of the loop: all of it waits in the kernel when the end comes
				n, err := sock.Write(fd, block)
				if err != nil {
					if !sock.WouldBlock(err) {
						return err
					}
					break
				}
				sent += n
			}
			must(t, sock.Close(fd))
			if err := p.wait(ctx); err != nil {
				t.Errorf("reason %v", err)
			}
			if len(p.data) != sent || sent < 64<<10 {
				t.Errorf("%d of %d bytes", len(p.data), sent)
			}
			if tail := strings.Join(p.log[len(p.log)-2:], " "); tail != "eof lost" {
				t.Errorf("the end is %s", tail)
			}
			return nil
		})
	})
	t.Run("UNX-09 cancelling with a given socket closes it exactly once", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			ours, theirs := socketPair(t)
			defer unix.Close(theirs)
			task := loopnode.CreateTask(ctx, "", func(ctx context.Context) (Transport, error) {
				tr, _, err := unixClient(ctx, "", WithSocket(ours))
				return tr, err
			})
			if err := loopnode.Sleep(ctx, 0); err != nil {
				return err
			}
			task.Cancel()
			if _, err := task.Await(ctx); !errors.Is(err, loopnode.ErrCancelled) {
				return fmt.Errorf("the task ended with %w", err)
			}
			for range 3 {
				if err := loopnode.Sleep(ctx, 0); err != nil {
					return err
				}
			}
			if n, err := unix.Read(theirs, make([]byte, 1)); n != 0 || err != nil {
				return fmt.Errorf("it is still open: %d, %w", n, err)
			}
			again, err := unix.FcntlInt(uintptr(theirs), unix.F_DUPFD_CLOEXEC, ours) // takes the number that was freed
			must(t, err)
			defer unix.Close(again)
			for range 3 {
				if err := loopnode.Sleep(ctx, 0); err != nil {
					return err
				}
			}
			if _, err := unix.FcntlInt(uintptr(again), unix.F_GETFD, 0); err != nil || again != ours {
				return fmt.Errorf("descriptor %d (before %d) was closed again: %w", again, ours, err)
			}
			return nil
		})
	})
	t.Run("a server whose backlog is full is waited for", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			path := place(t, "s")
			fd, err := sock.OpenListener(&net.UnixAddr{Name: path, Net: "unix"}, sock.ListenOptions{})
			must(t, err)
			defer unix.Close(fd)
			must(t, sock.Listen(fd, 0))
			first, fp, err := unixClient(ctx, path)
			if err != nil {
				return err
			}
			second := loopnode.CreateTask(ctx, "", func(ctx context.Context) (Transport, error) {
				tr, _, err := unixClient(ctx, path)
				return tr, err
			})
			for range 5 {
				if err := loopnode.Sleep(ctx, 2*firstRetry); err != nil {
					return err
				}
			}
			if second.Done() {
				_, err := second.Result()
				return fmt.Errorf("it is connected already: %w", err)
			}
			for range 2 {
				accepted, _, err := sock.Accept(fd)
				if err == nil {
					defer unix.Close(accepted)
				}
				if sock.WouldBlock(err) {
					break
				}
				must(t, err)
			}
			tr, err := second.Await(ctx)
			if err != nil {
				return err
			}
			tr.Abort()
			first.Abort()
			return fp.wait(ctx)
		})
	})
}

// orphan leaves the file of a dead socket at path.
func orphan(t *testing.T, path string) {
	t.Helper()
	fd, err := sock.OpenListener(&net.UnixAddr{Name: path, Net: "unix"}, sock.ListenOptions{})
	must(t, err)
	must(t, sock.Close(fd))
}

func inode(t *testing.T, path string) fs.FileInfo {
	t.Helper()
	info, err := os.Lstat(path)
	must(t, err)
	return info
}

func TestUnixPath(t *testing.T) {
	t.Run("UNX-03 a dead socket's file is replaced; any other file stays and the address is in use", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			path := place(t, "s")
			orphan(t, path)
			s, p, err := unixServer(ctx, path)
			if err != nil {
				return err
			}
			tr, _, err := unixClient(ctx, path)
			if err != nil {
				return fmt.Errorf("the file is the old one: %w", err)
			}
			tr.Close()
			s.Close()
			if err := p.wait(ctx); err != nil {
				return err
			}
			must(t, os.WriteFile(path, []byte("precious"), 0o600))
			for _, opts := range [][]ServerOption{nil, {WithTakeOver(true)}} {
				count := descriptors()
				if _, _, err := unixServer(ctx, path, opts...); !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), path) {
					t.Errorf("%v", err)
				}
				if descriptors() != count {
					t.Error("a descriptor was left")
				}
			}
			if b, err := os.ReadFile(path); err != nil || string(b) != "precious" {
				t.Errorf("%q, %v", b, err)
			}
			count := descriptors()
			if _, _, err := unixServer(ctx, filepath.Join(path, "below a file")); !errors.Is(err, syscall.ENOTDIR) {
				t.Errorf("%v", err)
			}
			if descriptors() != count {
				t.Error("a descriptor was left")
			}
			return nil
		})
	})
	t.Run("UNX-04 a living server keeps its path unless it is to be taken over", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			path := place(t, "s")
			one, p1, err := unixServer(ctx, path)
			if err != nil {
				return err
			}
			if _, _, err := unixServer(ctx, path); !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("%v", err)
			}
			if len(p1.log) > 0 {
				t.Errorf("the living server was disturbed: %q", p1.log)
			}
			two, p2, err := unixServer(ctx, path, WithTakeOver(true))
			if err != nil {
				return err
			}
			tr, cp, err := unixClient(ctx, path)
			if err != nil {
				return err
			}
			tr.Close()
			err = errors.Join(cp.wait(ctx), p2.wait(ctx))
			if len(p1.log) > 0 {
				t.Errorf("the first server got the connection: %q", p1.log)
			}
			one.Close()
			inode(t, path) // it is the second server's
			two.Close()
			return err
		})
	})
	t.Run("UNX-04 a server that does not listen yet lives, too", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			path := place(t, "s")
			s, _, err := unixServer(ctx, path, WithStartServing(false))
			if err != nil {
				return err
			}
			defer s.Close()
			if _, _, err := unixServer(ctx, path); !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("%v", err)
			}
			return nil
		})
	})
	t.Run("UNX-05 close removes the file only while it is still the server's", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, told *[]loopnode.ExceptionContext) error {
			path := place(t, "s")
			there := func() bool { _, err := os.Lstat(path); return err == nil }
			for _, c := range []struct {
				name   string
				opts   []ServerOption
				meddle func()
				stays  bool
			}{
				{"closed", nil, func() {}, false},
				{"kept", []ServerOption{WithCleanupSocket(false)}, func() {}, true},
				{"gone already", nil, func() { must(t, os.Remove(path)) }, false},
				{"replaced", nil, func() { must(t, os.Remove(path)); must(t, os.WriteFile(path, nil, 0o600)) }, true},
			} {
				s, _, err := unixServer(ctx, path, c.opts...)
				if err != nil {
					return fmt.Errorf("%s: %w", c.name, err)
				}
				c.meddle()
				s.Close()
				if there() != c.stays {
					t.Errorf("%s: the file is there: %v", c.name, there())
				}
				_ = os.Remove(path)
			}
			fd, err := sock.OpenListener(&net.UnixAddr{Name: path, Net: "unix"}, sock.ListenOptions{})
			must(t, err)
			s, _, err := unixServer(ctx, "", WithSocket(fd))
			if err != nil {
				return err
			}
			s.Close()
			if there() {
				t.Error("the file of a socket given to CreateUnixServer stays")
			}
			fd, err = sock.OpenListener(&net.UnixAddr{Name: path, Net: "unix"}, sock.ListenOptions{})
			must(t, err)
			s, err = CreateServer(ctx, func() *probe { return newProbe(ctx) }, "", "", WithSocket(fd))
			must(t, err)
			s.Close()
			if !there() {
				t.Error("the file of a socket given to CreateServer was removed")
			}
			if len(*told) > 0 {
				t.Errorf("%v", *told)
			}
			return nil
		})
	})
	t.Run("UNX-06 an abstract name touches no file", func(t *testing.T) {
		t.Chdir(t.TempDir())
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			must(t, os.WriteFile("@loopmesh-abstract", []byte("a file of that name"), 0o600))
			s, p, err := unixServer(ctx, "\x00loopmesh-abstract")
			if err != nil {
				return err
			}
			if _, _, err := unixServer(ctx, "@loopmesh-abstract"); !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("%v", err)
			}
			tr, cp, err := unixClient(ctx, "@loopmesh-abstract")
			if err != nil {
				return err
			}
			tr.Close()
			err = errors.Join(cp.wait(ctx), p.wait(ctx))
			s.Close()
			list, _ := os.ReadDir(".")
			if b, _ := os.ReadFile("@loopmesh-abstract"); string(b) != "a file of that name" || len(list) != 1 {
				t.Errorf("%q, %v", b, list)
			}
			return err
		})
	})
	t.Run("the mode of the file is what was asked for, whatever the umask", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			for _, mode := range []fs.FileMode{0o600, 0o666} {
				path := place(t, "s")
				s, _, err := unixServer(ctx, path, WithMode(mode))
				if err != nil {
					return err
				}
				d, dc, err := at(ctx, "unixgram", path+"d", "", WithMode(mode))
				if err != nil {
					return err
				}
				if a, b := inode(t, path).Mode().Perm(), inode(t, path+"d").Mode().Perm(); a != mode || b != mode {
					t.Errorf("%o and %o, not %o", a, b, mode)
				}
				s.Close()
				d.Close()
				if err := dc.wait(ctx); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

func TestPeerCred(t *testing.T) {
	inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
		path := place(t, "s")
		s, p, err := unixServer(ctx, path)
		if err != nil {
			return err
		}
		defer s.Close()
		var seen any
		p.onMade = func(t Transport) { seen = t.ExtraInfo("peercred") }
		tr, cp, err := unixClient(ctx, path)
		if err != nil {
			return err
		}
		me := PeerCred{os.Getpid(), os.Getuid(), os.Getgid()}
		if got := tr.ExtraInfo("peercred"); got != me {
			t.Errorf("the client sees %v, not %v", got, me)
		}
		tr.Close()
		err = errors.Join(cp.wait(ctx), p.wait(ctx))
		if seen != me {
			t.Errorf("the server sees %v, not %v", seen, me)
		}
		if got := tr.ExtraInfo("peercred"); got != nil {
			t.Errorf("after the end: %v", got)
		}
		return err
	})
}

func TestUnixStream(t *testing.T) {
	inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
		path := place(t, "s")
		s, err := StartUnixServer(ctx, func(_ context.Context, s *Stream) error {
			_, err := io.Copy(s, s)
			return err
		}, path)
		if err != nil {
			return err
		}
		c, err := OpenUnixConnection(ctx, path)
		if err != nil {
			return err
		}
		big := strings.Repeat("0123456789", 200_000) // more than a socket's buffer: the tail must not be lost
		writer := loopnode.CreateTask(ctx, "", func(ctx context.Context) (int, error) {
			c := c.With(ctx)
			n, err := io.WriteString(c, big)
			return n, errors.Join(err, c.CloseWrite())
		})
		back, err := io.ReadAll(c)
		if string(back) != big {
			t.Errorf("%d bytes came back", len(back))
		}
		_, werr := writer.Await(ctx)
		must(t, c.Close())
		s.Close()
		return errors.Join(err, werr, c.WaitClosed(), s.WaitClosed(ctx))
	})
}
