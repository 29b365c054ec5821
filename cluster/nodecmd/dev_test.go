package nodecmd

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/cmd/node/demo"
	"github.com/loopmesh/loopmesh/internal/leaktest"
)

// run is the program that this module builds.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	return Run(ctx, args, out, errs, demoOptions...)
}

var demoOptions = []Option{
	WithService(Service{Name: "chat", About: "serve a chat for trials", Try: "nc HOST PORT", Start: demo.Chat}),
	WithExample(demo.Example),
}

// TestMain lets the test binary be the program (procrun_linux_test.go).
func TestMain(m *testing.M) {
	if os.Getenv("LOOPMESHTEST_AS_PROGRAM") != "" {
		Main(demoOptions...)
	}
	goleak.VerifyTestMain(leaktest.Late{M: m})
}

const patience = time.Minute

func TestDev(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r, w := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"dev", "--nodes", "3", "--port", "0"}, w, io.Discard)
		_ = w.Close()
	}()
	addresses := upAndRunning(t, r)
	a, b := dial(t, addresses[0]), dial(t, addresses[2])
	t.Run("a line typed on one node reaches a client of another", func(t *testing.T) {
		a.say(t, "hello from one")
		if got := b.hear(t); !strings.HasPrefix(got, "n1 ") || !strings.HasSuffix(got, ": hello from one") {
			t.Fatal(got)
		}
		if got := a.hear(t); !strings.HasSuffix(got, ": hello from one") {
			t.Fatal(got)
		}
		b.say(t, "and back")
		if got := a.hear(t); !strings.HasPrefix(got, "n3 ") {
			t.Fatal(got)
		}
	})
	t.Run("a line above the limit is refused, with and without an end, and the others go on", func(t *testing.T) {
		for _, end := range []string{"", "\n", "\r\n"} {
			c := dial(t, addresses[1])
			if _, err := c.Write([]byte(strings.Repeat("x", 4097) + end)); err != nil {
				t.Fatal(err)
			}
			c.hearUntil(t, "at most 4096 bytes")
			if c.in.Scan() {
				t.Fatalf("and then %q", c.in.Text())
			}
		}
		c := dial(t, addresses[1])
		c.say(t, strings.Repeat("y", 4096))
		for _, p := range []person{a, c} {
			p.hearUntil(t, ": "+strings.Repeat("y", 4096))
		}
		a.say(t, "still here")
		if got := a.hear(t); !strings.HasSuffix(got, "still here") {
			t.Fatal(got)
		}
	})
	cancel()
	select {
	case c := <-code:
		if c != exitOK {
			t.Fatalf("exit code %d", c)
		}
	case <-time.After(patience):
		t.Fatal("dev did not end")
	}
}

// hearUntil hears until a line has text. What others said before a client came may still
// be on its way to its node.
func (p person) hearUntil(t *testing.T, text string) {
	t.Helper()
	for !strings.Contains(p.hear(t), text) {
	}
}

// upAndRunning reads what dev prints until it is up, and returns the addresses.
func upAndRunning(t *testing.T, r *io.PipeReader) (addresses []string) {
	t.Helper()
	at := regexp.MustCompile(`chat on (\S+)`)
	in := bufio.NewScanner(r)
	for in.Scan() {
		if m := at.FindStringSubmatch(in.Text()); m != nil {
			addresses = append(addresses, m[1])
		}
		if strings.Contains(in.Text(), "Ctrl-C") {
			go func() { _, _ = io.Copy(io.Discard, r) }()
			return addresses
		}
	}
	t.Fatal("dev ended before it was up")
	return nil
}

type person struct {
	net.Conn
	in *bufio.Scanner
}

// dial connects and hears the greeting.
func dial(t *testing.T, address string) person {
	t.Helper()
	c, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	p := person{c, bufio.NewScanner(c)}
	if got := p.hear(t); !strings.HasPrefix(got, "* you are ") {
		t.Fatal(got)
	}
	return p
}

func (p person) say(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(p, text+"\r\n"); err != nil {
		t.Fatal(err)
	}
}

func (p person) hear(t *testing.T) string {
	t.Helper()
	if !p.in.Scan() {
		t.Fatal("the connection ended:", p.in.Err())
	}
	return p.in.Text()
}

func TestUsage(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	for _, c := range []struct {
		args []string
		code int
		text string
	}{
		{[]string{"dev", "--nodes", "0"}, exitUsage, "--nodes is 0"},
		{[]string{"dev", "--nodse", "3"}, exitUsage, "unknown flag: --nodse; did you mean --nodes?"},
		{[]string{"start", "--lsten", "x"}, exitUsage, "unknown flag: --lsten; did you mean --listen?"},
		{[]string{"ls", "--qzx"}, exitUsage, "unknown flag: --qzx (LM1001)"},
		{[]string{"start", "-Z"}, exitUsage, "unknown shorthand flag: 'Z' in -Z (LM1001)"},
		{[]string{"dev", "--port", "70000"}, exitUsage, "--port is 70000"},
		{[]string{"dev", "now"}, exitUsage, `takes no argument, got "now"`},
		{[]string{"devv"}, exitUsage, `no command "devv"`},
		{[]string{"version"}, exitOK, ""},
		{nil, exitOK, ""},
	} {
		var out, errs bytes.Buffer
		code := run(context.Background(), c.args, &out, &errs)
		if code != c.code || !strings.Contains(errs.String(), c.text) {
			t.Errorf("%q: code %d, said %q", c.args, code, errs.String())
		}
		if code == exitOK && out.Len() == 0 {
			t.Errorf("%q printed nothing", c.args)
		}
	}
	t.Run("a port that is taken is refused, named once, with what to do", func(t *testing.T) {
		taken, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer taken.Close()
		at := taken.Addr().String()
		_, port, _ := net.SplitHostPort(at)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		for _, args := range [][]string{
			{"dev", "--nodes", "1", "--port", port}, {"start", "--name", "x", "--listen", at},
			{"start", "--name", "x", "--voter", "--listen", "127.0.0.1:0", "--route-listen", at, "--routes", at + ",127.0.0.2:1,127.0.0.3:1"},
		} {
			var out, errs bytes.Buffer
			code := run(ctx, args, &out, &errs)
			said := errs.String()
			if code != exitRefused || strings.Count(said, at) != 1 || strings.Count(said, "address already in use") != 1 || !strings.Contains(said, "stop it") {
				t.Errorf("%q: code %d, said %q", args, code, said)
			}
		}
	})
	t.Run("an address that no interface has is a wrong configuration", func(t *testing.T) {
		var out, errs bytes.Buffer
		code := run(context.Background(), []string{"start", "--name", "x", "--insecure", "--listen", "192.0.2.1:4222"}, &out, &errs)
		if code != exitConfig || !strings.Contains(errs.String(), "192.0.2.1:4222") || !strings.Contains(errs.String(), "no interface") {
			t.Errorf("code %d, said %q", code, errs.String())
		}
	})
}
