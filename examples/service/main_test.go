package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/cluster/nodecmd"
	"github.com/loopmesh/loopmesh/internal/leaktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: m}) }

const patience = 20 * time.Second

// command runs the program with a command line.
func command(args ...string) (code int, text string) {
	var out bytes.Buffer
	code = nodecmd.Run(context.Background(), args, &out, &out, options...)
	return code, out.String()
}

// start runs a node until the test ends, and returns where the lines say that it is.
func start(t *testing.T, args ...string) (said map[string]string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- nodecmd.Run(ctx, append([]string{"start", "--loops", "1"}, args...), w, w, options...)
		_ = w.Close()
	}()
	t.Cleanup(func() {
		cancel()
		if code := <-ended; code != 0 {
			t.Errorf("%q ended with %d", args, code)
		}
	})
	said = map[string]string{}
	in := bufio.NewScanner(r)
	for in.Scan() {
		if words := strings.Fields(in.Text()); len(words) > 1 {
			said[words[0]] = words[len(words)-1]
		}
		if strings.HasPrefix(in.Text(), "Ctrl-C") {
			go func() { _, _ = io.Copy(io.Discard, r) }()
			return said
		}
	}
	t.Fatalf("%q ended before it was up: %v", args, said)
	return nil
}

func TestThreeNodesOfAProgramOfOnesOwn(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	first := start(t, "--name", "n1", "--listen", "127.0.0.1:0", "--counter", "127.0.0.1:0")
	second := start(t, "--name", "n2", "--join", first["join"], "--counter", "127.0.0.1:0", "--socket", filepath.Join(t.TempDir(), "elsewhere.sock"))
	start(t, "--name", "n3", "--join", first["join"])
	t.Run("clients of the protocol are served on two of them", func(t *testing.T) {
		for node, at := range map[string]string{"n1": first["counter"], "n2": second["counter"]} {
			c, err := net.DialTimeout("tcp", at, patience)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			in := bufio.NewScanner(c)
			for i, want := range []string{"2 words, 2 on " + node + ", longest: planet", "0 words, 2 on " + node + ", longest: "} {
				fmt.Fprintln(c, []string{"hello planet", ""}[i])
				if !in.Scan() || !strings.HasPrefix(in.Text(), want) {
					t.Errorf("%s: %q %v", node, in.Text(), in.Err())
				}
			}
			_ = c.Close()
		}
	})
	t.Run("its commands see all three", func(t *testing.T) {
		for _, c := range []struct{ args, want string }{
			{"ls -o name", "n1\nn2\nn3\n"},
			{`func call words.count "to_be" --on n3/io-0`, "1\n"},
			{`func call words.longest "a" --on n2/io-0`, "\"a\"\n"},
			{"actor ls --filter id~total -o name", "n1/total\nn2/total\nn3/total\n"},
			{"server ls -o name", "n1/counter/servers/1\nn2/counter/servers/1\n"},
			{"func ls -o name", "words.count\nwords.longest\n"},
		} {
			if code, text := command(strings.Fields(c.args)...); code != 0 || text != c.want {
				t.Errorf("%s: %d %q", c.args, code, text)
			}
		}
		if code, text := command("loop", "ls"); code != 0 || !strings.Contains(text, "n3/sums") {
			t.Errorf("%d %s", code, text)
		}
	})
	t.Run("its help and its errors have its name", func(t *testing.T) {
		for _, args := range [][]string{{"--help"}, {"conn", "write", "--help"}, {"start", "--help"}, {"version"}, {"nonsense"}, {"explain", "LM3101"}} {
			if _, text := command(args...); strings.Contains(text, "loopmesh ") || !strings.Contains(text, "service") {
				t.Errorf("%q: %s", args, text)
			}
		}
	})
}
