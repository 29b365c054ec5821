package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/loopmesh/loopmesh/examples/internal/exampletest"
)

func serve(t testing.TB) string {
	next := exampletest.Start(t, func(ctx context.Context, out io.Writer) error { return run(ctx, "127.0.0.1:0", out) })
	return next("listening on ")
}

func TestCommands(t *testing.T) {
	c := exampletest.Dial(t, serve(t))
	for _, step := range []struct{ send, want string }{
		{"PING\r\n", "+PONG\r\n"},
		{"*2\r\n$4\r\nPING\r\n$2\r\nhi\r\n", "$2\r\nhi\r\n"},
		{"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$5\r\n1\r\n\x00\xff\r\n", "+OK\r\n"},
		{"GET a\n", "$5\r\n1\r\n\x00\xff\r\n"},
		{"get nothing\r\n", "$-1\r\n"},
		{"SET n 41\r\nINCR n\r\nINCR fresh\r\nINCR a\r\n", "+OK\r\n:42\r\n:1\r\n-ERR value is not an integer or out of range\r\n"},
		{"SET n 1 NX\r\nSET m 1 XX\r\nSET m 1 NX\r\n", "$-1\r\n$-1\r\n+OK\r\n"},
		{"MSET x 1 y 2\r\nMGET x none y\r\n", "+OK\r\n*3\r\n$1\r\n1\r\n$-1\r\n$1\r\n2\r\n"},
		{"EXISTS x y z\r\nDEL x y z\r\nDBSIZE\r\n", ":2\r\n:2\r\n:4\r\n"},
		{"TTL n\r\nTTL none\r\nEXPIRE n 100\r\nTTL n\r\nEXPIRE none 1\r\n", ":-1\r\n:-2\r\n:1\r\n:100\r\n:0\r\n"},
		{"SET n 1 EX 0\r\nSET n 1 EX\r\nSET n 1 often\r\n", "-ERR invalid expire time in 'set' command\r\n-ERR syntax error\r\n-ERR syntax error\r\n"},
		{"NOSUCH x\r\nGET\r\n\r\n", "-ERR unknown command 'NOSUCH'\r\n-ERR wrong number of arguments for 'get' command\r\n"},
		{"FLUSHALL\r\nDBSIZE\r\n", "+OK\r\n:0\r\n"},
		{"QUIT\r\nPING\r\n", "+OK\r\n"},
	} {
		if _, err := io.WriteString(c, step.send); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(step.want))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != step.want {
			t.Fatalf("%q: got %q (%v), want %q", step.send, got, err, step.want)
		}
	}
	if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
		t.Fatalf("after QUIT: %q, %v", rest, err)
	}
}

func TestKeysExpire(t *testing.T) {
	c := exampletest.Dial(t, serve(t))
	fmt.Fprint(c, "SET short 1 PX 20\r\n")
	got := make([]byte, 5)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "+OK\r\n" {
		t.Fatalf("%q, %v", got, err)
	}
	for reply := make([]byte, 4); string(reply) != ":0\r\n"; {
		fmt.Fprint(c, "EXISTS short\r\n")
		if _, err := io.ReadFull(c, reply); err != nil { // the connection's deadline ends this
			t.Fatal(err)
		}
	}
}

func TestACommandMayComeInAnyPieces(t *testing.T) {
	c := exampletest.Dial(t, serve(t))
	value := strings.Repeat("v", 3000)
	command := fmt.Sprintf("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n%s\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", len(value), value)
	for piece := range bytes.Lines([]byte(command)) {
		for len(piece) > 0 {
			n, err := c.Write(piece[:min(7, len(piece))])
			if err != nil {
				t.Fatal(err)
			}
			piece = piece[n:]
		}
	}
	want := fmt.Sprintf("+OK\r\n$%d\r\n%s\r\n", len(value), value)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("%v, %.40q", err, got)
	}
}

func TestWhatIsNotTheProtocolEndsTheConnection(t *testing.T) {
	at := serve(t)
	for _, bad := range []string{"*x\r\n", "*1\r\n:5\r\n", "*1\r\n$-2\r\n", "*1\r\n$99999999\r\n", "*1\r\n$2\r\nabXX", "*70000\r\n", strings.Repeat("a", maxLine+1)} {
		c := exampletest.Dial(t, at)
		if _, err := io.WriteString(c, bad); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(c)
		if err != nil || !strings.HasPrefix(string(got), "-ERR Protocol error: ") {
			t.Errorf("%.20q: %q, %v", bad, got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("*1\r\n$4\r\nPING\r\nGET a\r\n"))
	f.Add([]byte("*2\r\n$-1\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		args, n, err := parse(b)
		if n < 0 || n > len(b) || err != nil && n != 0 || n == 0 && len(args) > 0 {
			t.Fatalf("took %d of %d bytes: %q, %v", n, len(b), args, err)
		}
		if n > 0 {
			again, m, err := parse(b[:n]) // what is whole is whole without what follows
			if m != n || err != nil || len(again) != len(args) {
				t.Fatalf("alone: %d of %d bytes, %q, %v", m, n, again, err)
			}
		}
	})
}
