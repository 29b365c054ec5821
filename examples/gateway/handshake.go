package main

import (
	"bufio"
	"bytes"
	"embed"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gobwas/ws"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

// visitor is a connection whose request has not come: the first protocol of each. It answers
// one request, with a page, a refusal or the upgrade. Owned by the loop.
type visitor struct {
	g    *gateway
	t    transportactors.Transport
	got  []byte // at most one head and what one read brought behind it
	late *loopnode.TimerHandle
}

// ConnectionMade begins the time that a request may take.
func (v *visitor) ConnectionMade(t transportactors.Transport) {
	v.t = t
	v.g.conns++
	if v.g.conns > v.g.limits.clients {
		v.refuse(http.StatusServiceUnavailable, "this node has as many connections as it takes; try another one")
		return
	}
	v.late = t.Loop().CallLater(v.g.limits.handshake, func() {
		v.refuse(http.StatusRequestTimeout, fmt.Sprintf("a request has to be here within %v", v.g.limits.handshake))
	})
}

func (v *visitor) ConnectionLost(error) {
	v.decided()
	v.g.conns--
}

// GoingAway gives a request that is on its way a while (limits.late).
func (v *visitor) GoingAway(time.Time) {
	v.decided()
	v.late = v.t.Loop().CallLater(v.g.limits.late, func() { v.refuse(http.StatusServiceUnavailable, "this node is going away; connect again") })
}

// decided ends the wait for the request.
func (v *visitor) decided() {
	if v.late != nil {
		v.late.Cancel()
	}
}

// DataReceived waits for the end of the head.
func (v *visitor) DataReceived(data []byte) {
	v.got = append(v.got, data...)
	end := bytes.Index(v.got, []byte("\r\n\r\n"))
	switch {
	case end < 0 && len(v.got) <= v.g.limits.head:
		return
	case end < 0 || end > v.g.limits.head:
		v.refuse(http.StatusRequestHeaderFieldsTooLarge, fmt.Sprintf("a request has at most %d bytes", v.g.limits.head))
		return
	}
	head, rest := v.got[:end+4], v.got[end+4:]
	v.got = nil
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
	switch {
	case err != nil:
		v.refuse(http.StatusBadRequest, err.Error())
	case r.URL.Path == "/ws":
		v.upgrade(r, head, rest)
	default:
		v.page(r)
	}
}

// upgrade answers a request for a WebSocket, and makes a client of the visitor.
func (v *visitor) upgrade(r *http.Request, head, rest []byte) {
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		v.refuse(http.StatusUpgradeRequired, "this address takes WebSocket only", "Upgrade: websocket", "Connection: Upgrade")
		return
	}
	if !originAllowed(r, v.g.cfg.origins) {
		v.refuse(http.StatusForbidden, "pages of this origin may not connect (start the gateway with -origin)")
		return
	}
	user, err := v.g.cfg.user(r)
	if err != nil {
		v.refuse(http.StatusUnauthorized, err.Error())
		return
	}
	var answer bytes.Buffer
	if _, err := (ws.Upgrader{}).Upgrade(pair{bytes.NewReader(head), &answer}); err != nil {
		v.end(answer.Bytes()) // the library says 400, 405, 426 or 505
		return
	}
	v.decided()
	_ = v.t.Write(answer.Bytes()) // a connection that is lost meanwhile is told to the client's protocol
	newClient(v.g, v.t, user).begin(rest)
}

// pair is the request and where the answer goes, for a library that takes a connection.
type pair struct {
	io.Reader
	io.Writer
}

// originAllowed keeps pages of others from using their visitors' cookies here. A program
// that is no browser sends no Origin, and needs none.
func originAllowed(r *http.Request, allowed []string) bool {
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return true
	}
	if slices.Contains(allowed, origins[0]) {
		return len(origins) == 1
	}
	from, err := url.Parse(origins[0])
	return err == nil && len(origins) == 1 && from.Host != "" && strings.EqualFold(from.Host, r.Host)
}

// policy is what the page may do; ws: is for the other nodes.
const policy = "Content-Security-Policy: default-src 'self'; connect-src 'self' ws: wss:; img-src data:"

//go:embed page.html page.mjs client.mjs
var pages embed.FS

// page answers with the page of this example, or with the client that it uses.
func (v *visitor) page(r *http.Request) {
	name, kind := "page.html", "text/html; charset=utf-8"
	switch r.URL.Path {
	case "/":
	case "/client.mjs", "/page.mjs":
		name, kind = r.URL.Path[1:], "text/javascript; charset=utf-8"
	default:
		v.refuse(http.StatusNotFound, "there is / and /ws")
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		v.refuse(http.StatusMethodNotAllowed, "GET it", "Allow: GET, HEAD")
		return
	}
	body, err := pages.ReadFile(name)
	if err != nil {
		v.refuse(http.StatusInternalServerError, err.Error())
		return
	}
	head := answerHead(http.StatusOK, kind, len(body), policy, "X-Content-Type-Options: nosniff")
	if r.Method == http.MethodHead {
		body = nil
	}
	v.end(append(head, body...))
}

// refuse answers with a status and a line that says why.
func (v *visitor) refuse(status int, why string, fields ...string) {
	v.g.refused++
	why += "\n"
	v.end(append(answerHead(status, "text/plain; charset=utf-8", len(why), fields...), why...))
}

// end writes the answer, unless the visitor is a client meanwhile.
func (v *visitor) end(answer []byte) {
	if v.decided(); v.t.Protocol() == any(v) {
		v.g.end(v.t, answer)
	}
}

func answerHead(status int, kind string, length int, fields ...string) []byte {
	head := fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n", status, http.StatusText(status), kind, length)
	for _, f := range append(fields, "Cache-Control: no-store") {
		head = append(append(head, f...), "\r\n"...)
	}
	if !slices.ContainsFunc(fields, func(f string) bool { return strings.HasPrefix(f, "Connection:") }) {
		head = append(head, "Connection: close\r\n"...)
	}
	return append(head, "\r\n"...)
}
