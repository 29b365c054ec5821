package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// peer is a client for tests: the client side of the library over package net, so that
// nothing of it is the gateway's own.
type peer struct {
	net.Conn
	in   *bufio.Reader
	ping func(payload []byte) []byte // what it answers to a ping; nil: nothing
	node string                      // that said welcome
}

// errClosed is how a connection ends that the gateway closes.
type errClosed struct {
	code ws.StatusCode
	why  string
}

func (e errClosed) Error() string { return fmt.Sprintf("closed: %d %s", e.code, e.why) }

func pong(payload []byte) []byte {
	return ws.MustCompileFrame(ws.MaskFrame(ws.NewPongFrame(payload)))
}

// dial connects as a user and waits for the welcome.
func dial(at, user string) (*peer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, in, _, err := ws.Dialer{}.Dial(ctx, "ws://"+at+"/ws?user="+user)
	if err != nil {
		return nil, err
	}
	if in == nil { // nothing came behind the answer yet
		in = bufio.NewReader(c)
	}
	p := &peer{Conn: c, in: in, ping: pong}
	if err = c.SetDeadline(time.Now().Add(patience)); err == nil {
		var e event
		if e, err = p.hear(); err == nil && e.Is != "welcome" {
			err = fmt.Errorf("it was greeted with %+v", e)
		}
		p.node = e.Node
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return p, nil
}

// connect is dial for a test, which ends the connection.
func connect(t testing.TB, at, user string) *peer {
	t.Helper()
	p, err := dial(at, user)
	if err != nil {
		t.Fatalf("%s cannot connect to %s: %v", user, at, err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// frame reads one frame.
func (p *peer) frame() (f ws.Frame, err error) {
	f.Header, err = ws.ReadHeader(p.in)
	switch {
	case err != nil:
		return f, err
	case f.Header.Masked || f.Header.Length > 1<<20:
		return f, fmt.Errorf("a frame of the gateway is masked, or too large: %+v", f.Header)
	}
	f.Payload = make([]byte, f.Header.Length)
	_, err = io.ReadFull(p.in, f.Payload)
	return f, err
}

// hear reads the next event, and answers pings meanwhile.
func (p *peer) hear() (e event, err error) {
	for {
		f, err := p.frame()
		if err != nil {
			return e, err
		}
		switch f.Header.OpCode {
		case ws.OpPing:
			if p.ping != nil {
				if _, err := p.Write(p.ping(f.Payload)); err != nil {
					return e, err
				}
			}
		case ws.OpPong:
			return event{Is: "pong", Text: string(f.Payload)}, nil
		case ws.OpClose:
			code, why := ws.ParseCloseFrameData(f.Payload)
			_, _ = p.Write(ws.MustCompileFrame(ws.MaskFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(code, ""))))) // it may be gone
			return e, errClosed{code, why}
		default:
			return e, json.Unmarshal(f.Payload, &e)
		}
	}
}

// until hears events until one of that kind comes.
func (p *peer) until(t testing.TB, is string) event {
	t.Helper()
	for {
		e, err := p.hear()
		if err != nil {
			t.Fatalf("waiting for %q: %v", is, err)
		}
		if e.Is == is {
			return e
		}
	}
}

// ends wants the connection to be closed with a code, and then to end.
func (p *peer) ends(t testing.TB, code ws.StatusCode) string {
	t.Helper()
	for {
		_, err := p.hear()
		if err == nil {
			continue
		}
		var closed errClosed
		if !errors.As(err, &closed) || closed.code != code {
			t.Fatalf("the connection ends with %v, want code %d", err, code)
		}
		if _, err := p.in.ReadByte(); err != io.EOF {
			t.Fatalf("behind the Close frame comes %v, want the end", err)
		}
		return closed.why
	}
}

// ask sends a request.
func (p *peer) ask(r request) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = p.Write(ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame(text))))
	return err
}

// say is ask for a test.
func (p *peer) say(t testing.TB, r request) {
	t.Helper()
	if err := p.ask(r); err != nil {
		t.Fatal(err)
	}
}
