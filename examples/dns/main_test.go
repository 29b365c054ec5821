package main

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"sort"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/loopmesh/loopmesh/examples/internal/exampletest"
)

const hosts = `# a small house
192.0.2.7 Printer.home printer
2001:db8::7 printer.home
192.0.2.8 scanner.home
`

func serve(t testing.TB) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "hosts.txt")
	many := strings.Repeat("192.0.2.9 many.home\n", 60)
	if err := os.WriteFile(name, []byte(hosts+many), 0o600); err != nil {
		t.Fatal(err)
	}
	next := exampletest.Start(t, func(ctx context.Context, out io.Writer) error { return run(ctx, "127.0.0.1:0", name, out) })
	return next("listening on ")
}

// TestGoResolver asks with the resolver of Go's own net package.
func TestGoResolver(t *testing.T) {
	at := serve(t)
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", at)
	}}
	got, err := r.LookupHost(t.Context(), "PRINTER.home.")
	sort.Strings(got)
	if want := []string{"192.0.2.7", "2001:db8::7"}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("printer.home: %v, %v", got, err)
	}
	if txt, err := r.LookupTXT(t.Context(), "whoami."); err != nil || !reflect.DeepEqual(txt, []string{"127.0.0.1"}) {
		t.Errorf("whoami: %v, %v", txt, err)
	}
	if _, err := r.LookupHost(t.Context(), "nobody.home."); err == nil || !err.(*net.DNSError).IsNotFound {
		t.Errorf("nobody.home: %v", err)
	}
}

func query(t testing.TB, name string, kind dnsmessage.Type, change func(*dnsmessage.Message)) []byte {
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: 7}, Questions: []dnsmessage.Question{{
		Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET,
	}}}
	if change != nil {
		change(&m)
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestUnusualQuestions(t *testing.T) {
	c, err := net.Dial("udp", serve(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ask := func(b []byte) (m dnsmessage.Message) {
		t.Helper()
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
		in := make([]byte, 2048)
		n, err := c.Read(in)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Unpack(in[:n]); err != nil {
			t.Fatal(err)
		}
		return m
	}
	for _, silent := range [][]byte{{}, {1, 2, 3}, query(t, "scanner.home.", dnsmessage.TypeA, func(m *dnsmessage.Message) { m.Response = true })} {
		if _, err := c.Write(silent); err != nil { // nothing comes back: the next answer is the next question's
			t.Fatal(err)
		}
	}
	if m := ask(query(t, "scanner.home.", dnsmessage.TypeAAAA, nil)); m.RCode != dnsmessage.RCodeSuccess || len(m.Answers) != 0 || m.ID != 7 {
		t.Errorf("a type it does not have: %v", m.GoString())
	}
	if m := ask(query(t, "scanner.home.", dnsmessage.TypeA, func(m *dnsmessage.Message) { m.OpCode = 5 })); m.RCode != dnsmessage.RCodeNotImplemented {
		t.Errorf("an update: %v", m.RCode)
	}
	if m := ask(query(t, "many.home.", dnsmessage.TypeA, nil)); !m.Truncated || len(m.Answers) != 0 {
		t.Errorf("an answer above 512 bytes: %v", m.GoString())
	}
	if m := ask(query(t, "scanner.home.", dnsmessage.TypeA, func(m *dnsmessage.Message) { m.Questions = nil })); m.RCode != dnsmessage.RCodeFormatError {
		t.Errorf("no question: %v", m.RCode)
	}
}

func TestBadHosts(t *testing.T) {
	name := filepath.Join(t.TempDir(), "hosts.txt")
	if err := os.WriteFile(name, []byte("\nnonsense printer\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readHosts(name); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("got %v", err)
	}
	if _, err := readHosts(name + ".none"); !os.IsNotExist(err) {
		t.Errorf("got %v", err)
	}
}

func FuzzAnswer(f *testing.F) {
	z := zone{"a.": nil}
	f.Add(query(f, "a.", dnsmessage.TypeA, nil))
	f.Add(query(f, "whoami.", dnsmessage.TypeTXT, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		reply := z.answer(b, (&net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}).AddrPort())
		var m dnsmessage.Message
		if reply != nil && (len(reply) > maxMessage || m.Unpack(reply) != nil || !m.Response) {
			t.Fatalf("%x is answered by %x", b, reply)
		}
	})
}
