package admin

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// browser is an HTTP client with cookies.
type browser struct {
	*http.Client
	at string
}

func newBrowser(t *testing.T, at string) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{&http.Client{Jar: jar, Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}, "http://" + at}
}

func (b *browser) do(t *testing.T, method, path, body string, header ...string) (int, string, http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(testCtx(t), method, b.at+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
	}
	resp, err := b.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text), resp.Header
}

// mayChange asks what a browser may do.
func (b *browser) mayChange(t *testing.T) bool {
	t.Helper()
	code, text, _ := b.do(t, "GET", sessionPath, "")
	var s Session
	if err := json.Unmarshal([]byte(text), &s); err != nil || code != 200 || s.Node != "n1" {
		t.Fatalf("%d %s %v", code, text, err)
	}
	return s.MayChange
}

// ticketOf is the token behind the # of a link.
func ticketOf(t *testing.T, link string) string {
	t.Helper()
	u, err := url.Parse(link)
	ticket, ok := strings.CutPrefix(u.Fragment, "t=")
	if err != nil || !ok || u.RawQuery != "" || len(ticket) < minToken {
		t.Fatalf("%q: %v", link, err)
	}
	return ticket
}

const someConn = "/api/v1/conns/close?id=n1/admin/transports/1" // there is none: 404 when it may be asked

func TestATicketOpensOneSession(t *testing.T) {
	s, _ := pair(t)
	if s.Ticket() != "" {
		t.Error("a link to nowhere")
	}
	const token = "0123456789abcdef-secret"
	at, err := s.ListenTCP("127.0.0.1:0", token)
	if err != nil {
		t.Fatal(err)
	}
	b := newBrowser(t, at.String())
	if b.mayChange(t) {
		t.Error("without anything")
	}
	if code, _, _ := b.do(t, "POST", someConn, ""); code != 401 {
		t.Errorf("without a session: %d", code)
	}
	ticket := ticketOf(t, s.Ticket())
	login := `{"token":"` + ticket + `"}`
	for _, c := range []struct {
		what, body string
		code       int
		header     []string
	}{
		{"a wrong ticket", `{"token":"wrong"}`, 401, nil}, {"no ticket", `{}`, 401, nil}, {"nonsense", `{`, 400, nil},
		{"another site", login, 403, []string{"Sec-Fetch-Site", "cross-site"}}, {"another port", login, 403, []string{"Sec-Fetch-Site", "same-site"}},
		{"another origin", login, 403, []string{"Origin", "http://evil.example"}}, {"another name", login, 401, []string{"Host", "evil.example"}},
	} {
		if code, text, _ := b.do(t, "POST", sessionPath, c.body, c.header...); code != c.code || b.mayChange(t) {
			t.Errorf("%s: %d %s", c.what, code, text)
		}
	}
	if code, text, _ := b.do(t, "GET", sessionPath+"?token="+ticket, ""); code != 200 || b.mayChange(t) {
		t.Errorf("a GET has changed something: %d %s", code, text)
	}
	code, text, h := b.do(t, "POST", sessionPath, login)
	if code != 200 || !b.mayChange(t) {
		t.Fatalf("%d %s", code, text)
	}
	if c := h.Get("Set-Cookie"); !strings.Contains(c, "HttpOnly") || !strings.Contains(c, "SameSite=Strict") || strings.Contains(c+text, ticket) || strings.Contains(c+text, token) {
		t.Errorf("the cookie is %q, the answer %s", c, text)
	}
	if code, _, _ := b.do(t, "POST", someConn, ""); code != 404 {
		t.Errorf("with a session: %d", code)
	}
	if code, _, _ := b.do(t, "POST", someConn, "", "Sec-Fetch-Site", "same-site"); code != 403 {
		t.Errorf("with a session, from another port: %d", code)
	}
	other := newBrowser(t, at.String())
	if code, _, _ := other.do(t, "POST", sessionPath, login); code != 401 || other.mayChange(t) {
		t.Errorf("the ticket worked twice: %d", code)
	}
	if code, _, _ := b.do(t, "POST", sessionPath+"/end", ""); code != 200 || b.mayChange(t) {
		t.Errorf("after the end: %d", code)
	}
	if code, _, _ := other.do(t, "POST", sessionPath, `{"token":"`+token+`"}`); code != 200 || !other.mayChange(t) {
		t.Errorf("with the token of the listener: %d", code)
	}
}

func TestSessionsEndAndAreBounded(t *testing.T) {
	s := newSessions()
	over := s.add(s.open, -time.Second)
	if s.find(s.open, over, false) || len(s.open) != 0 {
		t.Error("an old session is open")
	}
	first := s.add(s.open, time.Minute)
	for range maxSessions {
		s.add(s.open, time.Hour)
	}
	if len(s.open) != maxSessions || s.find(s.open, first, false) {
		t.Errorf("%d sessions, the oldest among them: %t", len(s.open), s.find(s.open, first, false))
	}
}

// TestThePageBesideTheAPI: its files are for everybody, what they ask for is not.
func TestThePageBesideTheAPI(t *testing.T) {
	s, _ := pair(t)
	if _, err := s.ListenTCP("127.0.0.1:0", "0123456789abcdef-secret"); err != nil {
		t.Fatal(err)
	}
	beyond := s.guarded(s.handler(), false)
	for path, code := range map[string]int{"/": 200, "/ui/main.js": 200, "/ui/nothing.js": 404, "/api/v1/nodes": 401, "/api/v1/session": 401, "/metrics": 401, "/ui": 401} {
		w := newRecorder("GET", "http://192.0.2.7"+path, beyond)
		if w.Code != code {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	near := s.guarded(s.handler(), true)
	if w := newRecorder("GET", "http://127.0.0.1/api/v1/self", near, "Sec-Fetch-Site", "cross-site"); w.Code != 403 {
		t.Errorf("a page of another site asks: %d", w.Code)
	}
	if w := newRecorder("GET", "http://evil.example/", near); w.Code != 401 {
		t.Errorf("a name that points here: %d", w.Code)
	}
}

func newRecorder(method, url string, h http.Handler, header ...string) *httptest.ResponseRecorder {
	r, w := httptest.NewRequest(method, url, nil), httptest.NewRecorder()
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	h.ServeHTTP(w, r)
	return w
}
