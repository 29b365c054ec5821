package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"

	"github.com/loopmesh/loopmesh/examples/internal/exampletest"
	"github.com/loopmesh/loopmesh/transportactors/framing"
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

// TestUnreadRepliesAreBounded sends 7,000 bytes of GET of a value of 1 MiB and reads
// nothing until another client has been served.
func TestUnreadRepliesAreBounded(t *testing.T) {
	const gets, size = 1000, 1 << 20
	at := serve(t)
	c := exampletest.Dial(t, at)
	fmt.Fprintf(c, "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$%d\r\n%s\r\n", size, strings.Repeat("v", size))
	answer(t, c, "+OK\r\n")
	before := heap()
	if _, err := io.WriteString(c, strings.Repeat("GET a\r\n", gets)); err != nil {
		t.Fatal(err)
	}
	other := exampletest.Dial(t, at)
	for range 10 { // the loop has seen the commands of c by then
		fmt.Fprint(other, "PING\r\n")
		answer(t, other, "+PONG\r\n")
	}
	if grown := heap() - before; grown > 64<<20 {
		t.Fatalf("%d MiB wait for a client that reads nothing", grown>>20)
	}
	n, err := io.Copy(io.Discard, io.LimitReader(c, gets*int64(size+len("$1048576\r\n\r\n"))))
	if err != nil || n != gets*int64(size+len("$1048576\r\n\r\n")) {
		t.Fatalf("%d bytes of replies, %v", n, err)
	}
}

// TestCommandsBehindAPauseAreAnsweredAfterEOF: the client says that it sends no
// more while its replies wait.
func TestCommandsBehindAPauseAreAnsweredAfterEOF(t *testing.T) {
	c := exampletest.Dial(t, serve(t))
	const size, gets = 1 << 20, 50
	fmt.Fprintf(c, "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$%d\r\n%s\r\n", size, strings.Repeat("v", size))
	fmt.Fprint(c, strings.Repeat("GET a\r\n", gets))
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(c)
	if want := len("+OK\r\n") + gets*(size+len("$1048576\r\n\r\n")); err != nil || len(all) != want {
		t.Fatalf("%d of %d bytes, %v", len(all), want, err)
	}
}

func TestAReplyIsBounded(t *testing.T) {
	c := exampletest.Dial(t, serve(t))
	const size = 1 << 20
	fmt.Fprintf(c, "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$%d\r\n%s\r\n", size, strings.Repeat("v", size))
	answer(t, c, "+OK\r\n")
	fmt.Fprint(c, "MGET"+strings.Repeat(" a", 17)+"\r\n")
	answer(t, c, "-ERR the reply is above 16 MiB, ask for fewer keys\r\n")
}

func TestTheStoreIsBounded(t *testing.T) {
	s := newStore(nil)
	s.put("a", make([]byte, 100))
	s.size = maxStore // as if the rest were full
	for _, c := range []struct {
		key  string
		size int
		fits bool
	}{{"a", 100, true}, {"a", 101, false}, {"b", 0, false}} {
		if s.fits(c.key, make([]byte, c.size)) != c.fits {
			t.Errorf("%+v", c)
		}
	}
	if out := s.do(nil, [][]byte{[]byte("SET"), []byte("b"), nil}); !strings.HasPrefix(string(out), "-ERR the store is full") {
		t.Errorf("%q", out)
	}
	s.drop("a")
	if out := s.do(nil, [][]byte{[]byte("INCR"), []byte("b")}); string(out) != ":1\r\n" {
		t.Errorf("%q", out)
	}
}

// TestPiecesCostNoMoreThanOne parses 65,536 words in 20,000 pieces. What counts is
// how many bytes the parser looks at, which is not seen from outside; begun anew
// with each piece it would take 650 million words and many seconds.
func TestPiecesCostNoMoreThanOne(t *testing.T) {
	command := "*65536\r\n" + strings.Repeat("$1\r\na\r\n", 65536)
	var p parser
	in := framing.New(p.split, maxCommand)
	size := len(command)/20_000 + 1
	words := 0
	for at := 0; at < len(command); at += size {
		before := len(p.words)
		for whole, err := range in.Packets([]byte(command[at:min(at+size, len(command))])) {
			if err != nil {
				t.Fatal(err)
			}
			words = len(p.args(whole))
		}
		if words == 0 && len(p.words) < before {
			t.Fatal("the words that were read are read again")
		}
	}
	if words != 65536 || in.Buffered() != 0 {
		t.Fatalf("%d words, %d bytes are kept", words, in.Buffered())
	}
}

func answer(t testing.TB, c io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("got %q (%v), want %q", got, err, want)
	}
}

// heap is the live memory in bytes.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// commandsOf parses input that comes in pieces of size bytes.
func commandsOf(input []byte, size int) (list []string, kept int, failed bool) {
	var p parser
	in := framing.New(p.split, maxCommand)
	for at := 0; at < len(input); at += size {
		for command, err := range in.Packets(bytes.Clone(input[at:min(at+size, len(input))])) {
			if err != nil {
				return list, 0, true
			}
			list = append(list, fmt.Sprintf("%q", p.args(command)))
		}
	}
	return list, in.Buffered(), false
}

// FuzzPieces: commands do not depend on the pieces in which they come.
func FuzzPieces(f *testing.F) {
	f.Add([]byte("*1\r\n$4\r\nPING\r\nGET a\r\n"), 3)
	f.Add([]byte("*2\r\n$-1\r\n"), 1)
	f.Add([]byte("*0\r\n\r\n*2\r\n$0\r\n\r\n$3\r\na\r\n\r\nx"), 2)
	f.Fuzz(func(t *testing.T, input []byte, size int) {
		size = 1 + (size&0x7fffffff)%(len(input)+1)
		whole, kept, failed := commandsOf(input, len(input)+1)
		list, left, bad := commandsOf(input, size)
		if fmt.Sprint(whole) != fmt.Sprint(list) || kept != left || failed != bad {
			t.Fatalf("in one piece %q, %d kept, failed %v; in pieces of %d: %q, %d, %v", whole, kept, failed, size, list, left, bad)
		}
	})
}
