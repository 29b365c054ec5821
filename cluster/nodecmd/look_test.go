package nodecmd

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/admin"
	"github.com/loopmesh/loopmesh/loopnode"
)

// evil is a function of a program whose tasks have names that a terminal would obey.
var evil = cluster.Func("test.evil", func(ctx context.Context, _ struct{}) (int, error) {
	loopnode.Go(ctx, "\x1b[2J\u009bevil\u202e", func(ctx context.Context) error { return loopnode.Sleep(ctx, time.Hour) })
	return 0, nil
})

// echo gives its input back.
var echo = cluster.Func("test.echo", func(_ context.Context, text string) (string, error) { return text, nil })

func TestLookingAndStopping(t *testing.T) {
	village(t)
	_, _ = evil, echo
	if s := loopmesh("func", "call", "test.evil", "null", "--on", "n2/io-0"); s.code != exitOK {
		t.Fatalf("%+v", s)
	}
	find := func() string {
		s := loopmesh("ps", "-o", "name", "--filter", "name~evil")
		if s.code != exitOK {
			t.Fatalf("%+v", s)
		}
		return strings.TrimSpace(s.out)
	}
	id := find()
	if !regexp.MustCompile(`^n2/io-0/tasks/\d+$`).MatchString(id) {
		t.Fatalf("the task is %q", id)
	}
	t.Run("names of tasks cannot steer a terminal", func(t *testing.T) {
		for _, args := range [][]string{{"ps"}, {"ps", "-o", "wide"}, {"task", "ls", "-o", "name"}, {"task", "show", id}} {
			if s := loopmesh(args...); s.code != exitOK || strings.ContainsAny(s.out, "\x1b\u009b\u202e") {
				t.Errorf("%q: %+v", args, s)
			}
		}
		if s := loopmesh("task", "show", id); !strings.Contains(s.out, "waiting in loopnode.Sleep") || !strings.Contains(s.out, "look_test.go") || !strings.Contains(s.out, "?[2J?evil?") {
			t.Errorf("%+v", s)
		}
	})
	t.Run("inspect takes every id that a list prints", func(t *testing.T) {
		for _, list := range [][]string{{"ls"}, {"loop", "ls"}, {"ps"}, {"conn", "ls"}, {"server", "ls"}, {"proc", "ls"}, {"actor", "ls"}} {
			s := loopmesh(append(list, "-o", "name")...)
			if s.code != exitOK || s.out == "" && list[0] != "conn" && list[0] != "proc" && list[0] != "actor" {
				t.Errorf("%q: %+v", list, s)
			}
			for i, id := range strings.Fields(s.out) {
				if got := loopmesh("inspect", id); i < 3 && (got.code != exitOK || !strings.Contains(got.out, `"id": "`+id+`"`)) {
					t.Errorf("inspect %s: %+v", id, got)
				}
			}
		}
	})
	t.Run("lists are sorted, filtered and cut", func(t *testing.T) {
		for _, c := range []struct {
			args string
			out  string
		}{
			{"ls --sort -id -o name", "n3\nn2\nn1\n"},
			{"ls --filter id!=n2 -o name", "n1\nn3\n"},
			{"ls --columns node,state --no-headers --filter id=n1", "n1  ready\n"},
			{"ls --filter NOTE=asked -o name", "n1\n"},
			{"server ls --filter id~n3 -o name", "n3/chat/servers/1\n"},
			{"ls --filter loops>=3 --filter id>n1 -o name", "n2\nn3\n"},
		} {
			if s := loopmesh(strings.Fields(c.args)...); s.code != exitOK || s.out != c.out {
				t.Errorf("%s: %+v", c.args, s)
			}
		}
		for args, says := range map[string]string{
			"ls --sort size": `no field "size"`, "ls --filter x": "FIELD=VALUE", "ls --filter size=1": `no field "size"`, "ls --columns a": `no column "a"`,
			"ls --watch=1ms": "--watch is 1ms", "loop ls --measure 1h": "--measure is 1h", "events --kind rumour": "rumour", "events --since x": `since is "x"`,
			"events -f -o json": "jsonl", "ls -o yml": "yaml",
		} {
			if s := loopmesh(strings.Fields(args)...); s.code != exitUsage || !strings.Contains(s.errs, says) || s.out != "" {
				t.Errorf("%s: %+v", args, s)
			}
		}
	})
	t.Run("every form of output is what it says", func(t *testing.T) {
		if s := loopmesh("ls", "-o", "jsonl"); strings.Count(s.out, "\n") != 3 || !json.Valid([]byte(strings.SplitN(s.out, "\n", 2)[0])) {
			t.Errorf("%+v", s)
		}
		if s := loopmesh("ls", "-o", "yaml"); !strings.HasPrefix(s.out, "kind: NodeList\n") {
			t.Errorf("%+v", s)
		}
		if s := loopmesh("loop", "ls", "--measure", "20ms", "-o", "wide"); s.code != exitOK || !strings.Contains(s.out, "%") || !strings.Contains(s.out, "TURNS/S") {
			t.Errorf("%+v", s)
		}
	})
	t.Run("a list is printed again and again", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		r, w := io.Pipe()
		ended := make(chan int, 1)
		go func() {
			ended <- run(ctx, []string{"ls", "-o", "name", "--watch=100ms"}, w, io.Discard)
			_ = w.Close()
		}()
		if _, err := io.ReadFull(r, make([]byte, len("n1\nn2\nn3\n")*2)); err != nil {
			t.Fatal(err)
		}
		cancel()
		go func() { _, _ = io.Copy(io.Discard, r) }()
		if code := <-ended; code != exitOK && code != exitInterrupted {
			t.Errorf("ended with %d", code)
		}
	})
	t.Run("a task is cancelled, and that is an event that can be followed", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		r, w := io.Pipe()
		ended := make(chan int, 1)
		go func() {
			ended <- run(ctx, []string{"events", "-f", "--kind", "order"}, w, io.Discard)
			_ = w.Close()
		}()
		if s := loopmesh("task", "cancel", id, "--reason", "too \x1b[2J old"); s.code != exitOK || s.out != "" {
			t.Fatalf("%+v", s)
		}
		line := make([]byte, 300)
		n, err := r.Read(line)
		if text := string(line[:n]); err != nil || !strings.Contains(text, "LM6101") || !strings.Contains(text, "too ?[2J old") || strings.Contains(text, "\x1b") {
			t.Errorf("%q %v", text, err)
		}
		cancel()
		go func() { _, _ = io.Copy(io.Discard, r) }()
		if code := <-ended; code != exitOK {
			t.Errorf("following ended with %d", code)
		}
		if s := loopmesh("task", "cancel", "n2/io-0/tasks/99999"); s.code != exitNotFound {
			t.Errorf("%+v", s)
		}
		if s := loopmesh("task", "show", "n2/io-0/tasks/99999"); s.code != exitNotFound {
			t.Errorf("%+v", s)
		}
		if s := loopmesh("events", "--since", "1h", "-o", "name"); s.code != exitOK || !strings.Contains(s.out, "n1/") {
			t.Errorf("%+v", s)
		}
	})
}

func TestCodesAreExplained(t *testing.T) {
	for _, c := range admin.Codes() {
		for _, written := range []string{c.Code, strings.ToLower(c.Code), strings.TrimPrefix(c.Code, "LM")} {
			s := loopmesh("explain", written)
			if s.code != exitOK || !strings.Contains(s.out, c.Title) || !strings.Contains(s.out, c.Code) {
				t.Errorf("%s: %+v", written, s)
			}
		}
	}
	if s := loopmesh("explain", "LM0000"); s.code != exitNotFound || !strings.Contains(s.errs, "explain all") {
		t.Errorf("%+v", s)
	}
	if s := loopmesh("explain", "all", "-o", "name"); strings.Count(s.out, "\n") != len(admin.Codes()) {
		t.Errorf("%+v", s)
	}
	if s := loopmesh("schema", "NodeList"); s.code != exitOK || !json.Valid([]byte(s.out)) {
		t.Errorf("%+v", s)
	}
	if s := loopmesh("schema", "Nonsense"); s.code != exitNotFound || !strings.Contains(s.errs, "NodeList") {
		t.Errorf("%+v", s)
	}
	if s := loopmesh("ls", "extra"); !strings.Contains(s.errs, "(LM1001)") {
		t.Errorf("an error without its code: %+v", s)
	}
}

func TestTheTokenFile(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", dir)
	open, short, good := filepath.Join(dir, "open"), filepath.Join(dir, "short"), filepath.Join(dir, "good")
	for path, mode := range map[string]os.FileMode{open: 0o644, short: 0o600, good: 0o600} {
		text := "0123456789abcdef0123\n"
		if path == short {
			text = "x\n"
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"--admin-listen 0.0.0.0:0", exitConfig, "needs a token"},
		{"--admin-listen 0.0.0.0:0 --admin-token-file " + short, exitConfig, "at least 16"},
		{"--admin-listen 0.0.0.0:0 --admin-token-file " + open, exitUsage, "chmod 600"},
		{"--admin-listen 127.0.0.1:0 --admin-token-file /nowhere", exitUsage, "--admin-token-file"},
		{"--admin-listen nonsense", exitFailed, "nonsense"},
	} {
		if s := loopmesh(append([]string{"start", "--loops", "0", "--name", "n1"}, strings.Fields(c.args)...)...); s.code != c.code || !strings.Contains(s.errs, c.says) {
			t.Errorf("%s: %+v", c.args, s)
		}
	}
	t.Run("the address is printed", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		r, w := io.Pipe()
		ended := make(chan int, 1)
		go func() {
			ended <- run(ctx, []string{"start", "--loops", "0", "--name", "n1", "--admin-listen", "127.0.0.1:0", "--admin-token-file", good}, w, io.Discard)
			_ = w.Close()
		}()
		var text bytes.Buffer
		buf := make([]byte, 1000)
		for !strings.Contains(text.String(), "Ctrl-C") {
			n, err := r.Read(buf)
			if err != nil {
				t.Fatal(err, text.String())
			}
			text.Write(buf[:n])
		}
		if !strings.Contains(text.String(), "  admin   http://127.0.0.1:") {
			t.Error(text.String())
		}
		cancel()
		go func() { _, _ = io.Copy(io.Discard, r) }()
		<-ended
	})
}
