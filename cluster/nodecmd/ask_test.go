package nodecmd

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

// said is what one run of the program did.
type said struct {
	code      int
	out, errs string
}

// loopmesh runs the program with a command line.
func loopmesh(args ...string) said {
	var out, errs bytes.Buffer
	code := run(context.Background(), args, &out, &errs)
	return said{code, out.String(), errs.String()}
}

// village is a dev cluster of three nodes that runs in this process, and the
// addresses of their chats.
func village(t *testing.T) []string {
	t.Helper()
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"dev", "--port", "0"}, w, io.Discard)
		_ = w.Close()
	}()
	t.Cleanup(func() {
		cancel()
		if code := <-ended; code != exitOK {
			t.Errorf("dev ended with %d", code)
		}
		if left, _ := filepath.Glob(filepath.Join(admin.Dir(), "*.sock")); len(left) > 0 {
			t.Errorf("sockets are left: %v", left)
		}
	})
	return upAndRunning(t, r)
}

func decoded[T any](t *testing.T, s said) (v T) {
	t.Helper()
	if s.code != exitOK {
		t.Fatalf("code %d, said %s", s.code, s.errs)
	}
	in := json.NewDecoder(strings.NewReader(s.out))
	in.DisallowUnknownFields()
	if err := in.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, s.out)
	}
	if _, err := in.Token(); err != io.EOF {
		t.Fatalf("more than one document in %s", s.out)
	}
	return v
}

func TestAskingACluster(t *testing.T) {
	rooms := village(t)
	t.Run("ls shows every node through one", func(t *testing.T) {
		list := decoded[admin.List[admin.Node]](t, loopmesh("ls", "-o", "json"))
		if len(list.Items) != 3 || list.Kind != "NodeList" || len(list.Partial) != 0 {
			t.Fatalf("%+v", list)
		}
		for i, n := range list.Items {
			if n.State != admin.Ready || n.PID != os.Getpid() || n.Loops != 3 || n.Servers != 1 || n.Self != (i == 0) {
				t.Errorf("%+v", n)
			}
		}
	})
	t.Run("every name that is printed is taken", func(t *testing.T) {
		for _, loop := range strings.Fields(loopmesh("loop", "ls", "-o", "name").out) {
			if s := loopmesh("func", "call", "demo.where", "null", "--on", loop); s.code != exitOK || s.out != `"`+loop+"\"\n" {
				t.Errorf("%s: %+v", loop, s)
			}
		}
		for _, node := range strings.Fields(loopmesh("ls", "-o", "name").out) {
			for _, args := range [][]string{{"status", node}, {"ls", "--node", node}, {"ls", "--socket", admin.Path(node)}} {
				if s := loopmesh(args...); s.code != exitOK || !strings.Contains(s.out, node) {
					t.Errorf("%q: %+v", args, s)
				}
			}
		}
	})
	t.Run("calls give results, documents and exit codes", func(t *testing.T) {
		for _, c := range []struct {
			args []string
			code int
			out  string
			errs []string
		}{
			{[]string{"demo.add", "[1,2]", "--on", "n3/io-0"}, exitOK, "3\n", nil},
			{[]string{"demo.add", "[1,2]", "--on", "n1/io-0"}, exitOK, "3\n", nil},
			{[]string{"demo.add", "[1,2"}, exitUsage, "", []string{"--on is missing"}},
			{[]string{"demo.add", "[1,2", "--on", "n1/io-0"}, exitUsage, "", []string{"is not JSON"}},
			{[]string{"demo.add", `"x"`, "--on", "n2/io-0"}, exitUsage, "", []string{"does not fit the type []int"}},
			{[]string{"demo.add", "[1]", "--on", "io-0"}, exitUsage, "", []string{"n1/admin"}},
			{[]string{"demo.ad", "[1]", "--on", "n2/io-0"}, exitNotFound, "", []string{"demo.ad", "functions of n2", "demo.add"}},
			{[]string{"demo.ad", "[1]", "--on", "n1/io-0"}, exitNotFound, "", []string{"demo.ad", "functions of n1", "demo.add"}},
			{[]string{"demo.add", "[1]", "--on", "n9/io-0"}, exitNotFound, "", []string{"n9", "nodes: n1, n2, n3"}},
			{[]string{"demo.add", "[1]", "--on", "n2/io-9"}, exitNotFound, "", []string{"loops of n2: admin, chat, io-0"}},
			{[]string{"demo.add", "[1]", "--on", "n1/io-9"}, exitNotFound, "", []string{"loops of n1: admin, chat, io-0"}},
			{[]string{"demo.sleep", `"soon"`, "--on", "n2/io-0"}, exitFailed, "", []string{"takes a duration"}},
			{[]string{"demo.sleep", `"1h"`, "--timeout", "1s", "--on", "n2/io-0"}, exitTimedOut, "", []string{"deadline passed"}},
			{[]string{"demo.sleep", `"1h"`, "--timeout", "1s", "--on", "n1/io-0"}, exitTimedOut, "", []string{"demo.sleep"}},
			{[]string{"demo.add", "[1]", "--on", "n2/io-0", "--timeout", "0s"}, exitUsage, "", []string{"--timeout"}},
			{[]string{"demo.add"}, exitUsage, "", []string{"NAME and JSON"}},
		} {
			s := loopmesh(append([]string{"func", "call"}, c.args...)...)
			if s.code != c.code || s.out != c.out {
				t.Errorf("%q: %+v", c.args, s)
			}
			for _, want := range c.errs {
				if !strings.Contains(s.errs, want) {
					t.Errorf("%q: %q does not say %q", c.args, s.errs, want)
				}
			}
		}
		if r := decoded[admin.CallResult](t, loopmesh("func", "call", "demo.add", "[1,2]", "--on", "n2/io-0", "-o", "json")); string(r.Result) != "3" || r.On != "n2/io-0" || r.TookUS <= 0 {
			t.Errorf("%+v", r)
		}
	})
	t.Run("functions are listed, those of the commands on demand", func(t *testing.T) {
		few, all := loopmesh("func", "ls"), loopmesh("func", "ls", "--all")
		if !strings.Contains(few.out, "demo.add") || strings.Contains(few.out, "loopmesh.node") || !strings.Contains(all.out, "loopmesh.node") {
			t.Errorf("%s%s", few.out, all.out)
		}
	})
	t.Run("a connection of any node is listed, written to and closed", func(t *testing.T) {
		p := dial(t, rooms[2])
		list := decoded[admin.List[admin.Conn]](t, loopmesh("conn", "ls", "-o", "json", "--node", "n1"))
		if len(list.Items) != 1 || list.Items[0].Peer != p.LocalAddr().String() || list.Items[0].Node != "n3" {
			t.Fatalf("%+v", list)
		}
		id := list.Items[0].ID
		if s := loopmesh("conn", "write", "--line", "--node", "n2", id, "from above"); s.code != exitOK || s.out != "" {
			t.Fatalf("%+v", s)
		}
		if got := p.hear(t); got != "from above" {
			t.Fatal(got)
		}
		if s := loopmesh("conn", "close", id, "-o", "name", "--reason", "too loud"); s.code != exitOK || s.out != id+"\n" {
			t.Fatalf("%+v", s)
		}
		if s := loopmesh("events", "--kind", "LM6102", "-o", "json"); !strings.Contains(s.out, `"why": "too loud"`) {
			t.Errorf("the reason is in no event: %+v", s)
		}
		if _, err := p.Read(make([]byte, 1)); err != io.EOF {
			t.Fatal(err)
		}
		for strings.Contains(loopmesh("conn", "ls", "-o", "name").out, id) {
			runtime.Gosched() // the peer sees the end before the transport has left the list
		}
		for _, bad := range []string{id, "n1/chat/transports/999", "n1/chat", "n7/chat/transports/1"} {
			if s := loopmesh("conn", "write", bad, "x"); s.code != exitNotFound || s.out != "" || s.errs == "" {
				t.Errorf("%s: %+v", bad, s)
			}
		}
	})
	t.Run("status is a page for people and a document for programs", func(t *testing.T) {
		if s := loopmesh("status", "n2"); s.code != exitOK || !strings.HasPrefix(s.out, "n2 - ready since ") || strings.Contains(s.out, "n1 - ") {
			t.Errorf("%+v", s)
		}
		if list := decoded[admin.List[nodeStatus]](t, loopmesh("status", "-o", "json")); len(list.Items) != 3 || len(list.Items[0].Detail) != 3 {
			t.Errorf("%+v", list)
		}
		if s := loopmesh("status", "n7"); s.code != exitNotFound || !strings.Contains(s.errs, "nodes: n1, n2, n3") {
			t.Errorf("%+v", s)
		}
	})
	t.Run("a second node of a name is refused", func(t *testing.T) {
		if s := loopmesh("start", "--name", "n1"); s.code != exitRefused || !strings.Contains(s.errs, "choose another name with --name") {
			t.Errorf("%+v", s)
		}
	})
}

func TestNobodyToAsk(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	if s := loopmesh("ls"); s.code != exitUnreachable || !strings.Contains(s.errs, "loopmesh start") || s.out != "" {
		t.Errorf("%+v", s)
	}
	if s := loopmesh("ls", "--node", "n1"); s.code != exitNotFound || !strings.Contains(s.errs, `no node "n1"`) {
		t.Errorf("%+v", s)
	}
	if s := loopmesh("ls", "--socket", "/nonexistent"); s.code != exitUnreachable || !strings.Contains(s.errs, "/nonexistent") {
		t.Errorf("%+v", s)
	}
	t.Run("a socket without a node is not one", func(t *testing.T) {
		if err := os.MkdirAll(admin.Dir(), 0o700); err != nil {
			t.Fatal(err)
		}
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: admin.Path("dead"), Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		_ = l.Close()
		if s := loopmesh("ls"); s.code != exitUnreachable || !strings.Contains(s.errs, "have ended: dead") {
			t.Errorf("%+v", s)
		}
	})
}

// TestNodesThatDoNotKnowEachOther: a command does not choose between two clusters of
// this machine, and says which nodes belong together.
func TestNodesThatDoNotKnowEachOther(t *testing.T) {
	village(t)
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"start", "--name", "m1", "--cluster", "other"}, w, io.Discard)
		_ = w.Close()
	}()
	defer func() { cancel(); <-ended }()
	upAndRunning(t, r)
	s := loopmesh("ls")
	if s.code != exitUsage || !strings.Contains(s.errs, "m1 | n1, n2, n3 (LM1003)") || !strings.Contains(s.errs, "--node") {
		t.Errorf("%+v", s)
	}
	if s := loopmesh("wait", "--timeout", "2s"); s.code != exitTimedOut || !strings.Contains(s.errs, "do not all know each other") {
		t.Errorf("nodes that may meet yet are not waited for: %+v", s)
	}
	if s := loopmesh("ls", "-o", "name", "--node", "m1"); s.code != exitOK || s.out != "m1\n" {
		t.Errorf("%+v", s)
	}
}
