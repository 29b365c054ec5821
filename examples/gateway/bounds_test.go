package main

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/loopmesh/loopmesh/examples/internal/exampletest"
)

// text is a whole text message of a client.
func text(s string) []byte { return masked(ws.NewTextFrame([]byte(s))) }

func masked(f ws.Frame) []byte {
	return ws.MustCompileFrame(ws.MaskFrameWith(f, [4]byte{1, 2, 3, 4}))
}

// bent is a frame whose header was changed.
func bent(f ws.Frame, change func(*ws.Header)) []byte {
	f = ws.MaskFrameWith(f, [4]byte{1, 2, 3, 4})
	change(&f.Header)
	return ws.MustCompileFrame(f)
}

func part(op ws.OpCode, fin bool, s string) []byte { return masked(ws.NewFrame(op, fin, []byte(s))) }

func join(frames ...[]byte) (all []byte) {
	for _, f := range frames {
		all = append(all, f...)
	}
	return all
}

// abuses are what RFC 6455 forbids, with the code that the connection is closed with, and
// what it allows, with what the client hears.
var abuses = []struct {
	name  string
	bytes []byte
	code  ws.StatusCode // 0: it is allowed
	hears string        // the event
}{
	{"a frame without a mask", ws.MustCompileFrame(ws.NewTextFrame([]byte("{}"))), 1002, ""},
	{"reserved bit 1", bent(ws.NewTextFrame([]byte("{}")), func(h *ws.Header) { h.Rsv = ws.Rsv(true, false, false) }), 1002, ""},
	{"reserved bit 2", bent(ws.NewTextFrame([]byte("{}")), func(h *ws.Header) { h.Rsv = ws.Rsv(false, true, false) }), 1002, ""},
	{"reserved bit 3", bent(ws.NewPingFrame(nil), func(h *ws.Header) { h.Rsv = ws.Rsv(false, false, true) }), 1002, ""},
	{"reserved data opcode 3", part(3, true, ""), 1002, ""},
	{"reserved data opcode 7", part(7, true, "x"), 1002, ""},
	{"reserved control opcode 11", part(11, true, ""), 1002, ""},
	{"reserved control opcode 15", part(15, true, "x"), 1002, ""},
	{"a fragmented ping", part(ws.OpPing, false, "x"), 1002, ""},
	{"a fragmented Close", part(ws.OpClose, false, ""), 1002, ""},
	{"a ping of 126 bytes", part(ws.OpPing, true, strings.Repeat("x", 126)), 1002, ""},
	{"a Close of 126 bytes", part(ws.OpClose, true, "\x03\xe8"+strings.Repeat("x", 124)), 1002, ""},
	{"a continuation of nothing", part(ws.OpContinuation, true, "x"), 1002, ""},
	{"a continuation behind a whole message", join(text(`{"do":"join","room":"x"}`), part(ws.OpContinuation, true, "x")), 1002, ""},
	{"a new message inside another one", join(part(ws.OpText, false, "{"), text("{}")), 1002, ""},
	{"a length of 64 bits with the highest set", []byte{0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}, 1002, ""},
	{"a short length in 16 bits", append([]byte{0x81, 0xfe, 0, 2, 0, 0, 0, 0}, "{}"...), 1002, ""},
	{"a short length in 64 bits", append([]byte{0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0}, "{}"...), 1002, ""},
	{"a message that is too large, by its header", []byte{0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 1, 1, 2, 3, 4}, 1009, ""},
	{"a frame of the most there is", []byte{0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}, 1009, ""},
	{"fragments that are too large together", join(part(ws.OpText, false, strings.Repeat("x", 60<<10)), part(ws.OpContinuation, true, strings.Repeat("x", 5<<10))), 1009, ""},
	{"a text that is not UTF-8", text("\xff"), 1007, ""},
	{"a text that ends inside a character", text("{\"do\":\"\xe2\x82"), 1007, ""},
	{"half of a surrogate pair", text("\xed\xa0\x80"), 1007, ""},
	{"an overlong slash", text("\xc0\xaf"), 1007, ""},
	{"fragments that are not UTF-8 together", join(part(ws.OpText, false, "\xe2\x82"), part(ws.OpContinuation, true, "x")), 1007, ""},
	{"a binary message", masked(ws.NewBinaryFrame([]byte("{}"))), 1003, ""},
	{"a fragmented binary message", join(part(ws.OpBinary, false, "{"), part(ws.OpContinuation, true, "}")), 1003, ""},
	{"a text that is not JSON", text("hello"), 1008, ""},
	{"a request that nobody knows", text(`{"do":"dance"}`), 1008, ""},
	{"an empty text", text(""), 1008, ""},

	{"Close with nothing", part(ws.OpClose, true, ""), 1000, ""},
	{"Close with half a code", part(ws.OpClose, true, "\x03"), 1002, ""},
	{"Close with a code", part(ws.OpClose, true, "\x03\xe9bye"), 1001, ""},
	{"Close with a code of the application", part(ws.OpClose, true, "\x0f\xa1bye"), 4001, ""},
	{"Close with code 999", part(ws.OpClose, true, "\x03\xe7"), 1002, ""},
	{"Close with code 1004", part(ws.OpClose, true, "\x03\xec"), 1002, ""},
	{"Close with code 1005", part(ws.OpClose, true, "\x03\xed"), 1002, ""},
	{"Close with code 1006", part(ws.OpClose, true, "\x03\xee"), 1002, ""},
	{"Close with code 1016", part(ws.OpClose, true, "\x03\xf8"), 1002, ""},
	{"Close with code 5000", part(ws.OpClose, true, "\x13\x88"), 1002, ""},
	{"Close with a reason that is not UTF-8", part(ws.OpClose, true, "\x03\xe8\xff"), 1007, ""},
	{"what comes behind Close is not looked at", join(part(ws.OpClose, true, "\x03\xe8"), []byte("garbage")), 1000, ""},

	{"a ping", part(ws.OpPing, true, "hello"), 0, "pong hello"},
	{"a ping of 125 bytes", part(ws.OpPing, true, strings.Repeat("x", 125)), 0, "pong " + strings.Repeat("x", 125)},
	{"a pong that nobody asked for", join(part(ws.OpPong, true, "x"), text(`{"do":"join","room":"x"}`)), 0, "joined "},
	{"fragments", join(part(ws.OpText, false, `{"do":`), part(ws.OpContinuation, false, ""), part(ws.OpContinuation, true, `"join","room":"x"}`)), 0, "joined "},
	{"fragments with a ping between them", join(part(ws.OpText, false, `{"do":`), part(ws.OpPing, true, "between"), part(ws.OpContinuation, true, `"join","room":"x"}`)), 0, "pong between"},
	{"a character in two fragments", join(part(ws.OpText, false, "{\"do\":\"say\",\"id\":\"1\",\"room\":\"\xe2"), part(ws.OpContinuation, true, "\x82\xac\"}")), 0, "nack "},
	{"a message of the most that is allowed", text(`{"do":"join","room":"x","text":"` + strings.Repeat("x", 64<<10-34) + `"}`), 0, "joined "},
}

// TestProtocolAbuse: each violation closes the connection with its code, however the bytes
// are cut, and the connection ends in order: the Close frame is not lost.
func TestProtocolAbuse(t *testing.T) {
	w := openTown(t, 1, nil)
	for i, a := range abuses {
		for _, step := range []int{len(a.bytes), 1 + len(a.bytes)/3} {
			t.Run(fmt.Sprintf("%s, %d at a time", a.name, step), func(t *testing.T) {
				p := connect(t, w.at("n1"), fmt.Sprint("user", i))
				for rest := a.bytes; len(rest) > 0; rest = rest[min(step, len(rest)):] {
					if _, err := p.Write(rest[:min(step, len(rest))]); err != nil {
						break // it has been closed already
					}
				}
				if a.code != 0 {
					p.ends(t, a.code)
					return
				}
				e, err := p.hear()
				if got := strings.TrimSuffix(e.Is+" "+e.Text, "\n"); err != nil || got != a.hears {
					t.Errorf("it hears %q, %v; want %q", got, err, a.hears)
				}
			})
		}
	}
	connect(t, w.at("n1"), "somebody") // the gateway is well
}

const ask = "GET /ws?user=bob HTTP/1.1\r\nHost: shop.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// answerTo sends a request and reads until the connection ends.
func answerTo(t testing.TB, at, request string) string {
	t.Helper()
	c := exampletest.Dial(t, at)
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil {
		t.Fatalf("behind %q: %v", answer, err)
	}
	return string(answer)
}

// TestHandshakes: what is no handshake gets an answer that says why, and the end.
func TestHandshakes(t *testing.T) {
	w := openTown(t, 1, func(l *limits) { l.head = 2000 })
	without := func(field string) string {
		lines := strings.SplitAfter(ask, "\r\n")
		for i, l := range lines {
			if strings.HasPrefix(l, field) {
				lines[i] = ""
			}
		}
		return strings.Join(lines, "")
	}
	for _, c := range []struct{ name, request, status, says string }{
		{"garbage", "hello\r\n\r\n", "400", "malformed"},
		{"binary garbage", "\x16\x03\x01\x00\xa5\x01\x00\r\n\r\n", "400", "malformed"},
		{"no HTTP version", "GET /ws\r\n\r\n", "400", "malformed"},
		{"a field without a name", without("Host") + "Host: x\r\n: x\r\n\r\n", "400", "malformed"},
		{"too long", ask + "X: " + strings.Repeat("x", 3000) + "\r\n\r\n", "431", "at most 2000 bytes"},
		{"endless", strings.Repeat("x", 3000), "431", "at most 2000 bytes"},
		{"a path that there is not", "GET /etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", "404", "there is / and /ws"},
		{"POST of a page", "POST / HTTP/1.1\r\nHost: x\r\n\r\n", "405", "Allow: GET"},
		{"no upgrade", without("Upgrade") + "\r\n", "426", "Upgrade: websocket"},
		{"another upgrade", strings.Replace(ask, "websocket", "h2c", 1) + "\r\n", "426", "Upgrade: websocket"},
		{"another version", strings.Replace(ask, "Version: 13", "Version: 8", 1) + "\r\n", "426", "Sec-WebSocket-Version: 13"},
		{"no version", without("Sec-WebSocket-Version") + "\r\n", "400", "Sec-WebSocket-Version"},
		{"no key", without("Sec-WebSocket-Key") + "\r\n", "400", "Sec-WebSocket-Key"},
		{"a short key", strings.Replace(ask, "dGhl", "", 1) + "\r\n", "400", "Sec-WebSocket-Key"},
		{"no connection field", without("Connection") + "\r\n", "400", "Connection"},
		{"no host", without("Host") + "\r\n", "400", "Host"},
		{"HTTP/1.0", strings.Replace(ask, "HTTP/1.1", "HTTP/1.0", 1) + "\r\n", "505", "version"},
		{"POST", strings.Replace(ask, "GET", "POST", 1) + "\r\n", "405", "method"},
		{"nobody", strings.Replace(ask, "?user=bob", "", 1) + "\r\n", "401", "say who you are"},
		{"a name that is none", strings.Replace(ask, "=bob", "=a%20b", 1) + "\r\n", "401", "say who you are"},
		{"a page of somebody else", ask + "Origin: https://evil.example\r\n\r\n", "403", "-origin"},
		{"a page with two origins", ask + "Origin: https://shop.example\r\nOrigin: https://evil.example\r\n\r\n", "403", "-origin"},
		{"a page of no origin", ask + "Origin: null\r\n\r\n", "403", "-origin"},
		{"the page", "GET /?user=bob HTTP/1.1\r\nHost: x\r\n\r\n", "200", "<title>gateway</title>"},
		{"the client", "GET /client.mjs HTTP/1.1\r\nHost: x\r\n\r\n", "200", "text/javascript"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := answerTo(t, w.at("n1"), c.request)
			if !strings.HasPrefix(got, "HTTP/1.1 "+c.status+" ") || !strings.Contains(strings.ToLower(got), strings.ToLower(c.says)) {
				t.Errorf("the answer is %q; want %s and %q", got, c.status, c.says)
			}
		})
	}
	for _, origin := range []string{"https://shop.example", "http://SHOP.example"} {
		c := exampletest.Dial(t, w.at("n1"))
		if _, err := io.WriteString(c, ask+"Origin: "+origin+"\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 12)
		if _, err := io.ReadFull(c, got); err != nil || string(got) != "HTTP/1.1 101" {
			t.Errorf("origin %s: %q, %v", origin, got, err)
		}
	}
}

// TestARequestThatNeverEnds is answered when its time is over.
func TestARequestThatNeverEnds(t *testing.T) {
	w := openTown(t, 1, func(l *limits) { l.handshake = time.Second }) // the test has written its part by then
	for _, begun := range []string{"", "GET /ws HTTP/1.1\r\nHost: x\r\n"} {
		if got := answerTo(t, w.at("n1"), begun); !strings.HasPrefix(got, "HTTP/1.1 408 ") {
			t.Errorf("%q is answered %q", begun, got)
		}
	}
}

// TestMessagesBehindTheHandshake, in the same packet, are not lost.
func TestMessagesBehindTheHandshake(t *testing.T) {
	w := openTown(t, 1, nil)
	c := exampletest.Dial(t, w.at("n1"))
	if _, err := c.Write(join([]byte(ask+"\r\n"), text(`{"do":"join","room":"x"}`), part(ws.OpClose, true, "\x03\xe8"))); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err != nil || !strings.Contains(string(got), "welcome") || !strings.HasSuffix(string(got), "\x88\x02\x03\xe8") {
		t.Errorf("%q, %v", got, err)
	}
}

// TestASilentClientIsCutOff: one that answers no ping; one that answers stays.
func TestASilentClientIsCutOff(t *testing.T) {
	w := openTown(t, 1, func(l *limits) { l.ping = time.Second })
	silent, alive := connect(t, w.at("n1"), "silent"), connect(t, w.at("n1"), "alive")
	silent.ping = nil
	alive.say(t, request{Do: "watch", Users: []string{"silent"}})
	alive.until(t, "presence")
	if e := alive.until(t, "presence"); e.User != "silent" || *e.Online { // it answers pings meanwhile
		t.Errorf("who answers hears %+v", e)
	}
	if _, err := silent.hear(); err == nil {
		t.Error("the silent one is still connected")
	}
	if !w.said.has("was lost: the client does not answer pings") || w.said.has("alive at") {
		t.Error("the log says", w.said.text.String())
	}
}

// TestASlowReader misses lines of rooms and is told how many; when it does not read for
// too long it is cut off, and the log says why. Others wait for nothing.
func TestASlowReader(t *testing.T) {
	w := openTown(t, 1, func(l *limits) { l.slow = patience; l.rate = 1_000_000 })
	slow, quick := connect(t, w.at("n1"), "slow"), connect(t, w.at("n1"), "quick")
	for _, p := range []*peer{slow, quick} {
		p.say(t, request{Do: "join", Room: "x"})
		p.until(t, "joined")
	}
	long, sent := strings.Repeat("x", 50<<10), uint64(0)
	for missed := false; !missed; sent++ {
		quick.say(t, request{Do: "say", ID: fmt.Sprint(sent), Room: "x", Text: long})
		quick.until(t, "ack")
		missed = w.paused(t, "slow")
	}
	for range 10 {
		quick.say(t, request{Do: "say", ID: fmt.Sprint(sent), Room: "x", Text: long})
		quick.until(t, "ack")
		sent++
	}
	heard := uint64(0)
	for heard < sent {
		e, err := slow.hear()
		if err != nil {
			t.Fatalf("after %d of %d lines: %v", heard, sent, err)
		}
		if heard += 1; e.Is == "missed" {
			heard += e.Count - 1
		}
	}
	if heard != sent {
		t.Errorf("of %d lines the slow one heard or was told to have missed %d", sent, heard)
	}
}

// paused reports whether a user does not read.
func (w *town) paused(t *testing.T, user string) (yes bool) {
	t.Helper()
	done := make(chan struct{})
	for _, g := range w.gates {
		must(t, g.loop.Ref().CallSoonThreadsafe(func() {
			defer close(done)
			c := g.users[user]
			yes = c != nil && c.slow != nil
		}))
		break
	}
	<-done
	return yes
}

// TestAReaderThatStopsIsCutOff: the log says why.
func TestAReaderThatStopsIsCutOff(t *testing.T) {
	w := openTown(t, 1, func(l *limits) { l.slow = 50 * time.Millisecond; l.rate = 1_000_000 })
	stopped, other := connect(t, w.at("n1"), "stopped"), connect(t, w.at("n1"), "other")
	stopped.say(t, request{Do: "join", Room: "x"})
	stopped.until(t, "joined")
	other.say(t, request{Do: "watch", Users: []string{"stopped"}})
	other.until(t, "presence")
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		for i := 0; !w.said.has("stopped at 127.0.0.1:"); i++ {
			if other.ask(request{Do: "say", ID: fmt.Sprint(i), Room: "x", Text: strings.Repeat("x", 50<<10)}) != nil {
				return
			}
		}
	}()
	if e := other.until(t, "presence"); e.User != "stopped" || *e.Online {
		t.Errorf("%+v", e)
	}
	<-stop
	if !w.said.has("was lost: the client does not read what it is sent") {
		t.Error("the log says", w.said.text.String())
	}
}

// TestABurstIsSlowedDown: a client that sends faster than it may is read at that pace, and
// loses nothing.
func TestABurstIsSlowedDown(t *testing.T) {
	w := openTown(t, 1, func(l *limits) { l.rate = 100 })
	p := connect(t, w.at("n1"), "bob")
	const burst = 250
	begun := time.Now()
	for i := range burst {
		if _, err := p.Write(part(ws.OpPing, true, fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	for i := range burst {
		if e := p.until(t, "pong"); e.Text != fmt.Sprint(i) {
			t.Fatalf("pong %d is %q", i, e.Text)
		}
	}
	if took := time.Since(begun); took < time.Second {
		t.Errorf("%d messages were taken in %v, with 100 a second and 100 at once", burst, took)
	}
}

// TestMessagesUnderWayAreBounded: a client with as many as it may is not read until one of
// them is confirmed.
func TestMessagesUnderWayAreBounded(t *testing.T) {
	w := openTown(t, 1, func(l *limits) { l.posts, l.accept, l.receipt = 3, patience, patience })
	alice, bob := connect(t, w.at("n1"), "alice"), connect(t, w.at("n1"), "bob")
	for i := range 4 {
		alice.say(t, request{Do: "send", ID: fmt.Sprint(i), To: "bob", Text: "x"})
	}
	if _, err := alice.Write(part(ws.OpPing, true, "behind")); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		bob.until(t, "message")
	}
	bob.say(t, request{Do: "got", From: "alice", ID: "1"})
	if e, err := alice.hear(); err != nil || e.Is != "ack" || e.ID != "1" {
		t.Fatalf("alice hears %+v, %v; her ping behind the fourth message has to wait", e, err)
	}
	if e := bob.until(t, "message"); e.ID != "3" {
		t.Errorf("then bob hears %+v", e)
	}
	bob.say(t, request{Do: "got", From: "alice", ID: "0"})
	alice.until(t, "pong")
}

// TestWhoGoesAwayUnreadIsMissed: a client that is not read, since it has as much under way as
// it may, closes its connection; a ping finds out.
func TestWhoGoesAwayUnreadIsMissed(t *testing.T) {
	w := openTown(t, 1, func(l *limits) { l.posts, l.ping, l.accept, l.receipt = 1, time.Second, patience, patience })
	alice, bob := connect(t, w.at("n1"), "alice"), connect(t, w.at("n1"), "bob")
	bob.say(t, request{Do: "watch", Users: []string{"alice"}})
	bob.until(t, "presence")
	for i := range 12 { // more than one read: some of it stays in the kernel
		alice.say(t, request{Do: "send", ID: fmt.Sprint(i), To: "bob", Text: strings.Repeat("x", 60<<10)})
	}
	bob.until(t, "message")
	must(t, alice.Close())
	begun := time.Now()
	if e := bob.until(t, "presence"); e.User != "alice" || *e.Online {
		t.Errorf("bob hears %+v", e)
	}
	if took := time.Since(begun); took > patience/2 { // the message is given up after patience
		t.Errorf("it took %v", took)
	}
}
