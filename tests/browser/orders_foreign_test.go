//go:build foreign

package browser

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/loopnode"
)

// connOf is the id of the connection that a client has.
func (p *page) connOf(c net.Conn) string {
	p.t.Helper()
	row := `[...document.querySelectorAll(".rows tbody tr")].find((r) => r.cells[1]?.innerText === $1)`
	p.until("the client is in the list", row, c.LocalAddr().String())
	return js[string](p, row+".dataset.key", c.LocalAddr().String())
}

func TestOrders(t *testing.T) {
	t.Parallel()
	w := found(t)
	p := open(t, w.admin["n1"].Ticket())
	p.until("the page is signed in", `document.getElementById("mode")?.innerText === "may change things"`)

	p.sub("closing a connection of another node ends the socket of its client, after a question", func(t *testing.T) {
		c, other := w.client(t, "n2"), w.client(t, "n2")
		p.show("conns")
		id := p.connOf(c)
		p.press("close " + id)
		p.until("it asks first, by name", `document.querySelector("dialog[open] h2")?.innerText.includes($1)`, id)
		p.press("no")
		p.until("no does nothing", `!document.querySelector("dialog[open]")`)
		if _, err := c.Write([]byte("still here\n")); err != nil {
			t.Fatal(err)
		}
		if n, err := io.ReadFull(c, make([]byte, 11)); err != nil {
			t.Fatal(n, err)
		}
		p.press("close " + id)
		js[bool](p, `(() => { const i = document.querySelector("dialog input"); i.value = "it was asked for"; i.dispatchEvent(new Event("input", { bubbles: true })); return true })()`)
		p.press("close")
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("the client reads %v", err)
		}
		if _, err := other.Write([]byte("me too\n")); err != nil {
			t.Error(err)
		}
		p.until("it leaves the list", `![...document.querySelectorAll(".rows tr")].some((r) => r.dataset.key === $1)`, id)
		p.show("events")
		p.until("the events tell of it, with the reason", `[...document.querySelectorAll(".rows tr")].some((r) => r.innerText.includes($1) && r.innerText.includes("it was asked for"))`, id)
	})

	p.sub("cancelling a task ends it", func(t *testing.T) {
		ended := make(chan error, 1)
		w.task(t, "n3", "io-1", "patient", func(ctx context.Context) error {
			err := loopnode.Sleep(ctx, time.Hour)
			ended <- err
			return err
		})
		p.show("tasks", "&filter=patient")
		p.until("it is in the list", `document.querySelectorAll(".rows tbody tr:not(.pad)").length === 1`)
		id := js[string](p, `document.querySelector(".rows tbody tr:not(.pad)").dataset.key`)
		p.press("cancel " + id)
		p.press("cancel")
		select {
		case err := <-ended:
			if !errors.Is(err, loopnode.ErrCancelled) || !strings.Contains(err.Error(), "dashboard") {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Error("it was not cancelled")
		}
		p.until("it is gone", `document.querySelector(".nothing")`)
	})

	p.sub("a server that is closed takes nobody", func(t *testing.T) {
		p.show("servers", "&filter=n3")
		p.until("it is in the list", `document.querySelectorAll(".rows tbody tr:not(.pad)").length === 1`)
		p.press("close " + js[string](p, `document.querySelector(".rows tbody tr:not(.pad)").dataset.key`))
		p.press("close")
		p.until("it is gone", `document.querySelector(".nothing")`)
		if c, err := net.DialTimeout("tcp", w.servers["n3"], patience); err == nil {
			_ = c.Close()
			t.Error("somebody listens")
		}
	})

	p.sub("an order that fails says why and changes nothing", func(t *testing.T) {
		p.show("tasks", "&filter=serve")
		p.allowed = append(p.allowed, "404")
		w.task(t, "n2", "io-1", "serve me", func(ctx context.Context) error { return loopnode.Sleep(ctx, 300*time.Millisecond) })
		p.until("it is in the list", `[...document.querySelectorAll(".rows tr")].some((r) => r.cells[1]?.innerText === "serve me")`)
		p.press("pause")
		id := js[string](p, `[...document.querySelectorAll(".rows tr")].find((r) => r.cells[1]?.innerText === "serve me").dataset.key`)
		p.press("cancel " + id)
		js[bool](p, "new Promise((r) => setTimeout(() => r(true), 400))")
		p.press("cancel")
		p.until("it says that there is none", `document.querySelector("dialog .failed")?.innerText.includes("there is no")`)
	})
}

// Without a session, and in the read-only mode, nothing can be pressed, and a request that
// is made anyway is refused.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	w := found(t)
	c := w.client(t, "n1")
	p := open(t, "http://"+w.address+"/?page=conns")
	id := p.connOf(c)
	if n := js[int](p, `document.querySelectorAll(".act").length`); n != 0 {
		t.Errorf("%d buttons without a session", n)
	}
	p.allowed = append(p.allowed, "401", "403")
	if code := js[int](p, `fetch("/api/v1/conns/close?id=" + encodeURIComponent($1), { method: "POST" }).then((r) => r.status)`, id); code != 401 {
		t.Errorf("without a session: %d", code)
	}
	p.press("read-only: sign in")
	p.until("it asks for a token", `document.querySelector(".login input")`)
	sign := func(token string) {
		js[bool](p, `(() => { const i = document.querySelector(".login input"); i.value = $1; i.dispatchEvent(new Event("input", { bubbles: true })); return true })()`, token)
		p.press("sign in")
	}
	sign("a wrong one that is long enough")
	p.until("it is refused", `document.querySelector(".login .failed")?.innerText.includes("token is wrong")`)
	sign("a token that is long enough")
	p.until("it may change things", `document.querySelectorAll(".act").length === 2`)
	if left := js[string](p, `document.documentElement.outerHTML + JSON.stringify({...localStorage}) + JSON.stringify({...sessionStorage}) + document.cookie + location.href`); strings.Contains(left, "long enough") || strings.Contains(left, "loopmesh-session") {
		t.Error("a token or the session can be read in the page")
	}
	p.press("may change things")
	p.until("the read-only mode has no buttons", `document.getElementById("mode").innerText === "read-only" && !document.querySelector(".act")`)
}
