package handover

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
	"github.com/loopmesh/loopmesh/transportactors/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m, programs) }

const patience = 2 * time.Minute

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// inLoop runs fn as a task of a fresh loop.
func inLoop(t *testing.T, fn func(ctx context.Context) error) {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	l, err := loopnode.New(loopnode.Config{Logger: hclog.NewNullLogger()})
	must(t, err)
	defer func() { must(t, l.Close()) }()
	_, err = loopnode.RunUntilComplete(l, loopnode.CreateTask(l.Context(ctx), "test", func(ctx context.Context) (int, error) { return 0, fn(ctx) }))
	must(t, err)
}

// greeter says who it is and closes.
type greeter struct {
	text string
	over func() // nil: nobody waits for the end
}

func (g *greeter) ConnectionMade(t transportactors.Transport) {
	_ = t.Write([]byte(g.text + "\n"))
	t.Close()
}
func (g *greeter) DataReceived([]byte) {}
func (g *greeter) ConnectionLost(error) {
	if g.over != nil {
		g.over()
	}
}

// serveAs is a server whose clients hear text; it listens where in says, or anew.
func serveAs(ctx context.Context, in *Sockets, text string) (*transportactors.Server, error) {
	network, at, socket := in.Address("clients", "tcp", "127.0.0.1:0")
	return transportactors.CreateServer(ctx, func() *greeter { return &greeter{text: text} }, network, at, socket, transportactors.WithBacklog(1000))
}

// greeting is what a new client hears.
func greeting(ctx context.Context, at net.Addr) (string, error) {
	s, err := transportactors.OpenConnection(ctx, "tcp", at.String())
	if err != nil {
		return "", err
	}
	defer func() { _ = s.Close() }()
	text, err := s.ReadLine()
	return strings.TrimSpace(string(text)), err
}

func wants(ctx context.Context, at net.Addr, want string) error {
	if got, err := greeting(ctx, at); err != nil || got != want {
		return fmt.Errorf("a client hears %q, %v; want %q", got, err, want)
	}
	return nil
}

// TestTheNextOneGetsTheSockets: two that would be processes, on one loop. What waits in the
// queue of the socket when the old one closes is served by the new one.
func TestTheNextOneGetsTheSockets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "handover")
	inLoop(t, func(ctx context.Context) error {
		first, err := Inherit(ctx, path)
		must(t, err)
		old, err := serveAs(ctx, first, "old")
		must(t, err)
		must(t, first.Serving(ctx)) // nobody was before
		offer, err := Open(ctx, path, map[string]*transportactors.Server{"clients": old})
		must(t, err)
		at := old.Addrs()[0]
		must(t, wants(ctx, at, "old"))

		in, err := Inherit(ctx, path)
		must(t, err)
		if got := in.Names(); !slices.Equal(got, []string{"clients"}) {
			t.Error("it was given", got)
		}
		old.Close()
		waiting, err := transportactors.OpenConnection(ctx, "tcp", at.String()) // nobody accepts now, and it is not refused
		must(t, err)
		next, err := serveAs(ctx, in, "new")
		must(t, err)
		select {
		case <-offer.Replaced():
			t.Error("it counts as replaced before the new one said that it serves")
		default:
		}
		must(t, in.Serving(ctx))
		_, _, err = loopnode.Recv(ctx, offer.Replaced())
		must(t, err)
		in.Close()
		if text, err := waiting.ReadLine(); err != nil || string(text) != "new\n" {
			t.Errorf("who waited hears %q, %v", text, err)
		}
		must(t, waiting.Close())
		if next.Addrs()[0].String() != at.String() {
			t.Error("the address is another one:", next.Addrs()[0])
		}
		again, err := Open(ctx, path, map[string]*transportactors.Server{"clients": next})
		must(t, err)
		again.Close()
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Error("the path is still there:", err)
		}
		next.Close()
		return next.WaitClosed(ctx)
	})
}

// TestANewProcessThatGivesUpChangesNothing: it goes away before it serves.
func TestANewProcessThatGivesUpChangesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "handover")
	inLoop(t, func(ctx context.Context) error {
		none, err := Inherit(ctx, "")
		must(t, err)
		old, err := serveAs(ctx, none, "old")
		must(t, err)
		offer, err := Open(ctx, path, map[string]*transportactors.Server{"clients": old})
		must(t, err)
		for range 3 {
			in, err := Inherit(ctx, path)
			if err != nil { // the one before is being forgotten
				if !errors.Is(err, loopnode.ErrBusy) {
					t.Fatal(err)
				}
				continue
			}
			in.Close()
			must(t, wants(ctx, old.Addrs()[0], "old"))
		}
		select {
		case <-offer.Replaced():
			t.Error("it counts as replaced")
		default:
		}
		offer.Close()
		old.Close()
		return old.WaitClosed(ctx)
	})
}

// TestOneProcessAtATime: a second one is refused and hears why; when the first one has given
// up, the next one is served.
func TestOneProcessAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "handover")
	inLoop(t, func(ctx context.Context) error {
		none, err := Inherit(ctx, path)
		must(t, err)
		old, err := serveAs(ctx, none, "old")
		must(t, err)
		offer, err := Open(ctx, path, map[string]*transportactors.Server{"clients": old})
		must(t, err)
		first, err := Inherit(ctx, path)
		must(t, err)
		if _, err := Inherit(ctx, path); !errors.Is(err, loopnode.ErrBusy) || !strings.Contains(err.Error(), "another process has been given the sockets") {
			t.Error("a second process hears", err)
		}
		first.Close()
		for {
			in, err := Inherit(ctx, path)
			if err == nil {
				in.Close()
				break
			}
			if !errors.Is(err, loopnode.ErrBusy) {
				t.Fatal(err)
			}
			must(t, loopnode.Sleep(ctx, time.Millisecond))
		}
		offer.Close()
		old.Close()
		return old.WaitClosed(ctx)
	})
}

// TestOnlyItsOwnUser: the file is for the user of the process, and another user is refused.
func TestOnlyItsOwnUser(t *testing.T) {
	path := filepath.Join(t.TempDir(), "handover")
	inLoop(t, func(ctx context.Context) error {
		offer, err := Open(ctx, path, nil)
		must(t, err)
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the file has %v, %v", info.Mode(), err)
		}
		offer.Close()
		return nil
	})
	for _, c := range []struct {
		peer, own int
		ok        bool
	}{{0, 0, true}, {0, 1000, true}, {1000, 1000, true}, {1001, 1000, false}, {1000, 0, false}} {
		if err := checkUser(c.peer, c.own); (err == nil) != c.ok || err != nil && !errors.Is(err, fs.ErrPermission) {
			t.Errorf("user %d at the other end of user %d: %v", c.peer, c.own, err)
		}
	}
}

// TestSocketsThatNobodyTakesAreClosed: of two that were offered one is taken.
func TestSocketsThatNobodyTakesAreClosed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "handover")
	inLoop(t, func(ctx context.Context) error {
		none, err := Inherit(ctx, path)
		must(t, err)
		clients, err := serveAs(ctx, none, "old")
		must(t, err)
		admin, err := serveAs(ctx, none, "admin")
		must(t, err)
		offer, err := Open(ctx, path, map[string]*transportactors.Server{"clients": clients, "admin": admin})
		must(t, err)
		before := testkit.Descriptors()
		in, err := Inherit(ctx, path)
		must(t, err)
		if got := in.Names(); !slices.Equal(got, []string{"admin", "clients"}) {
			t.Error("it was given", got)
		}
		_, _, socket := in.Address("other", "tcp", "127.0.0.1:0")
		if socket != nil {
			t.Error("there is a socket of a name that nobody gave")
		}
		in.Close()
		for testkit.Descriptors() != before { // the connection is closed in a turn
			must(t, loopnode.Sleep(ctx, time.Millisecond))
		}
		offer.Close()
		clients.Close()
		admin.Close()
		return errors.Join(clients.WaitClosed(ctx), admin.WaitClosed(ctx))
	})
}

// TestWhoOffersNonsense: what is no offer is an error that says so, and nothing is left.
func TestWhoOffersNonsense(t *testing.T) {
	for name, c := range map[string]struct {
		line string
		want error
		says string
	}{
		"garbage":       {"hello\n", loopnode.ErrInvalidArgument, "no offer of version 1"},
		"another one's": {`{"v":2,"names":[]}` + "\n", loopnode.ErrInvalidArgument, "no offer of version 1"},
		"fewer sockets": {`{"v":1,"names":["clients"]}` + "\n", loopnode.ErrInvalidArgument, "it offers 1 sockets and sent 0"},
		"a refusal":     {`{"v":1,"refused":"not today"}` + "\n", loopnode.ErrBusy, "not today"},
		"nothing":       {"", io.EOF, "before it offered anything"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "handover")
			inLoop(t, func(ctx context.Context) error {
				s, err := transportactors.StartUnixServer(ctx, func(_ context.Context, s *transportactors.Stream) error {
					_, err := io.WriteString(s, c.line)
					return err
				}, path)
				must(t, err)
				in, err := Inherit(ctx, path)
				if !errors.Is(err, c.want) || !strings.Contains(fmt.Sprint(err), c.says) {
					t.Errorf("%v, %v; want %v, and %q", in, err, c.want, c.says)
				}
				s.Close()
				return s.WaitClosed(ctx)
			})
		})
	}
}

// TestNobodyIsThere: a path that there is not, and the file of a process that was killed,
// make this process the first one.
func TestNobodyIsThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "handover")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path + "-dead", Net: "unix"})
	must(t, err)
	l.SetUnlinkOnClose(false)
	must(t, l.Close())
	inLoop(t, func(ctx context.Context) error {
		for _, at := range []string{"", path, path + "-dead"} {
			in, err := Inherit(ctx, at)
			if err != nil || len(in.Names()) > 0 {
				t.Errorf("%q gives %v, %v", at, in, err)
			}
		}
		_, err := Open(ctx, path, map[string]*transportactors.Server{"clients": nil})
		if !errors.Is(err, loopnode.ErrInvalidArgument) {
			t.Error("a nil server:", err)
		}
		return nil
	})
}

// activate starts a program of this test as systemd would, with a listening socket.
func activate(t *testing.T, l net.Listener, count string, program ...string) (out *bufio.Reader, end func() error) {
	t.Helper()
	f, err := l.(*net.TCPListener).File()
	must(t, err)
	defer f.Close()
	run := testkit.Program(program...)
	cmd := testkit.Command(t, program...)
	cmd.Path, cmd.Args = "/bin/sh", append([]string{"sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`}, run...)
	cmd.Env = append(os.Environ(), "LISTEN_FDS="+count, "LISTEN_FDNAMES=clients")
	cmd.ExtraFiles = []*os.File{f}
	pipe, err := cmd.StdoutPipe()
	must(t, err)
	cmd.Stderr = os.Stderr
	must(t, cmd.Start())
	return bufio.NewReader(pipe), cmd.Wait
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// servesOne wants a client to be greeted, when the test has closed its own socket.
func servesOne(t *testing.T, l net.Listener) {
	t.Helper()
	must(t, l.Close()) // the socket lives on in the program
	if text, err := attempt(l.Addr().String()); err != nil || text != "activated" {
		t.Errorf("a client hears %q, %v", text, err)
	}
}

// TestSocketsOfTheServiceManager: a program that is started as systemd starts one serves on
// the socket that it is given, and its own children are given none.
func TestSocketsOfTheServiceManager(t *testing.T) {
	l := listen(t)
	out, end := activate(t, l, "1", "activated", "")
	if line, err := out.ReadString('\n'); err != nil || line != "serving [clients] LISTEN_FDS=\n" {
		t.Fatalf("it says %q, %v", line, err)
	}
	servesOne(t, l)
	must(t, end())
	l = listen(t)
	for count, says := range map[string]string{"two": "has to be a number", "-1": "has to be a number", "9": "descriptor 4 is no listening socket"} {
		out, end := activate(t, l, count, "activated", "")
		if line, _ := out.ReadString('\n'); !strings.Contains(line, says) || !strings.Contains(line, loopnode.ErrInvalidArgument.Error()) {
			t.Errorf("LISTEN_FDS=%s: it says %q", count, line)
		}
		_ = end() // with 1
	}
}

// TestAnAddressOfTheServiceManager: fd://NAME is that socket, once; other addresses stay.
func TestAnAddressOfTheServiceManager(t *testing.T) {
	l := listen(t)
	out, end := activate(t, l, "1", "activated", "fd://clients")
	if line, err := out.ReadString('\n'); err != nil || line != "serving [] LISTEN_FDS=1\n" {
		t.Fatalf("it says %q, %v", line, err)
	}
	servesOne(t, l)
	must(t, end())
	l = listen(t)
	for address, says := range map[string]string{"fd://other": `no socket of that name, but ["clients"]`, "fd://": "no socket of that name"} {
		out, end := activate(t, l, "1", "activated", address)
		if line, _ := out.ReadString('\n'); !strings.Contains(line, says) || !strings.Contains(line, loopnode.ErrInvalidArgument.Error()) {
			t.Errorf("%s: it says %q", address, line)
		}
		_ = end() // with 1
	}
	if network, at, socket, err := At("tcp", "127.0.0.1:80"); network != "tcp" || at != "127.0.0.1:80" || socket != nil || err != nil {
		t.Errorf("an address becomes %q, %q, %v, %v", network, at, socket, err)
	}
	if _, _, _, err := At("tcp", "fd://clients"); !errors.Is(err, loopnode.ErrInvalidArgument) {
		t.Error("without a service manager:", err)
	}
}
