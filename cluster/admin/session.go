package admin

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Sessions of browsers. A page cannot keep a token safely: what a script can read, a
// fault in the page can leak. So a token is exchanged once for a cookie that no script
// reads (HttpOnly) and that no other site can use (SameSite=Strict).
//
// Where does the token come from? The person types the one of the listener, or opens a
// link with a ticket: a token that works once, within ticketLife, and that the program
// or the owner of the unix socket asked for. It stands behind the # of the link, which
// browsers send to nobody, so it is in no log and no Referer; and it is redeemed with a
// POST, so a program that looks at links before people do does not use it up.
//
// What a cookie does not do: browsers send it to every port of its host. Whoever may
// serve pages on another port of 127.0.0.1 and gets this person to look at one, gets the
// cookie. On a machine of several users that do not trust each other, use the commands.

// Session says what whoever asks may do.
type Session struct {
	Kind       string `json:"kind"`
	APIVersion string `json:"apiVersion"`
	// The node that answers.
	Node string `json:"node"`
	// Requests that change something are taken.
	MayChange bool `json:"may_change"`
}

// SessionRequest exchanges a token or a ticket for a session.
type SessionRequest struct {
	Token string `json:"token"`
}

// Ticket is a link that opens the dashboard once.
type Ticket struct {
	Kind       string `json:"kind"`
	APIVersion string `json:"apiVersion"`
	// Where the dashboard is, with the ticket.
	URL     string    `json:"url"`
	Expires time.Time `json:"expires"`
}

// Why twelve hours: a person signs in once a day. Why not longer: the cookie of a browser
// that was left open is worth as much as the token.
//
// Bounds of what is kept: the oldest goes when there are more.
const (
	ticketLife  = time.Hour
	sessionLife = 12 * time.Hour
	maxSessions = 64
)

// Both kinds of secrets are random texts of 128 bits that are kept in memory and nowhere
// else: when the node ends, all sessions end, and a file that is copied contains none.
// Invariant: a ticket is in its map until it is redeemed or too old, and never afterwards,
// so that the second of two browsers with the same link is refused.
//
// sessions are the tickets and sessions of one server, with the times at which they end.
// The maps are made once; what is in them is guarded by mu.
type sessions struct {
	mu      sync.Mutex
	tickets map[string]time.Time
	open    map[string]time.Time
}

// newSessions makes the maps; they are empty after each start of the node.
func newSessions() *sessions {
	return &sessions{tickets: map[string]time.Time{}, open: map[string]time.Time{}}
}

// add keeps a new secret in one of the maps until its time is over.
func (s *sessions) add(in map[string]time.Time, life time.Duration) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(in) >= maxSessions {
		var oldest string
		for secret, ends := range in {
			if oldest == "" || ends.Before(in[oldest]) {
				oldest = secret
			}
		}
		delete(in, oldest)
	}
	secret := rand.Text()
	in[secret] = time.Now().Add(life)
	return secret
}

// find looks a secret up and takes it out when it is over or take is set. Every entry is
// compared in the same time, whether or not it fits.
func (s *sessions) find(in map[string]time.Time, given string, take bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := false
	for secret, ends := range in {
		fits := subtle.ConstantTimeCompare([]byte(secret), []byte(given)) == 1
		over := !time.Now().Before(ends)
		found = found || fits && !over
		if over || fits && take {
			delete(in, secret)
		}
	}
	return found
}

// end ends all of them. Who changes the token takes the right away from whoever had it, also
// from those who have exchanged it meanwhile.
func (s *sessions) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tickets)
	clear(s.open)
}

// A browser keeps a cookie until it is too old, the node until it ends: a node that was
// started anew knows none of the old ones, and its page is read-only until somebody opens a
// new link. It says so, and shows everything else.
//
// cookieName is the session's. Why with the port: a browser sends the cookies of one port
// to the others of the host, and two nodes must not overwrite each other's.
func cookieName(r *http.Request) string {
	_, port, _ := net.SplitHostPort(r.Host) // without a port: ""
	return "loopmesh-session" + port
}

// hasSession reports whether the request has the cookie of an open session.
func (s *sessions) hasSession(r *http.Request) bool {
	c, err := r.Cookie(cookieName(r))
	return err == nil && s.find(s.open, c.Value, false)
}

// Ticket makes a link to the dashboard at the address of ListenTCP that gives one
// browser the right to change things; it works once, within an hour. "" when nothing
// listens on TCP. Any goroutine; it does not wait.
func (s *Server) Ticket() string {
	if s.tcp == nil {
		return ""
	}
	return "http://" + s.tcp.listener.Addr().String() + "/#t=" + s.sessions.add(s.sessions.tickets, ticketLife)
}

// Who may ask for a ticket may already do everything that it gives: the owner of the unix
// socket, or whoever has the token or a session. So a ticket spreads a right and makes
// none. A browser in the read-only view of loopback cannot ask for one.
//
// newTicket is the route of Ticket.
func (s *Server) newTicket(context.Context, *http.Request) (any, error) {
	url := s.Ticket()
	if url == "" {
		return nil, &Error{Kind: NotFound, Message: "this node has no dashboard: its admin API listens on no port", Hint: "start it with --admin-listen"}
	}
	return &Ticket{Kind: "Ticket", APIVersion: APIVersion, URL: url, Expires: time.Now().Add(ticketLife).UTC()}, nil
}

// rightKey is under which the ctx of a request says that it may change something:
// guarded puts it there. Without guarded, on the unix socket, everybody may.
type rightKey struct{}

// session is the route that tells what the one who asks may do.
func (s *Server) session(_ context.Context, r *http.Request) (any, error) {
	may, guarded := r.Context().Value(rightKey{}).(bool)
	return &Session{Kind: "Session", APIVersion: APIVersion, Node: s.node.Name(), MayChange: may || !guarded}, nil
}

// withCookie is an answer that sets a cookie.
type withCookie struct {
	document *Session
	cookie   *http.Cookie
}

// login is the route that exchanges a token for a cookie. It is asked without a right.
func (s *Server) login(_ context.Context, r *http.Request) (any, error) {
	var q SessionRequest
	body, err := readBody(r)
	if err == nil {
		err = json.Unmarshal(body, &q)
	}
	switch {
	case err != nil:
		return nil, &Error{Kind: BadRequest, Message: "the request is no login: " + err.Error(), Hint: `send {"token": TOKEN}`}
	case s.tcp == nil || !s.tcp.takes(q.Token) && !s.sessions.find(s.sessions.tickets, q.Token, true):
		return nil, &Error{Kind: Refused, Message: "the token is wrong, or was used already", Hint: `"loopmesh dashboard" prints a new link`, Code: codeToken}
	}
	return s.sessionCookie(r, s.sessions.add(s.sessions.open, sessionLife), sessionLife), nil
}

// logout is the route that ends the session of the browser that asks.
func (s *Server) logout(_ context.Context, r *http.Request) (any, error) {
	if c, err := r.Cookie(cookieName(r)); err == nil {
		s.sessions.find(s.sessions.open, c.Value, true)
	}
	return s.sessionCookie(r, "", -time.Second), nil
}

// sessionCookie is the answer that sets the session's cookie for life, or takes it away.
func (s *Server) sessionCookie(r *http.Request, secret string, life time.Duration) withCookie {
	return withCookie{&Session{Kind: "Session", APIVersion: APIVersion, Node: s.node.Name(), MayChange: secret != ""}, &http.Cookie{
		Name: cookieName(r), Value: secret, Path: "/", MaxAge: int(life.Seconds()), HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil,
	}}
}

// takes compares a token with the listener's, in the same time for every wrong one.
func (t *tcpListener) takes(given string) bool {
	token := *t.token.Load()
	return token != "" && subtle.ConstantTimeCompare([]byte(given), []byte(token)) == 1
}

// The order of the checks matters. The name in the Host header comes first: behind a wrong
// one nothing is looked at, not even a right token, since the page that sent it may be
// somebody else's. Then where the browser says that the request comes from. Then the right.
// CrossOriginProtection, which looks at what wants to change something, is behind all of
// it, in the handler itself, and so holds on the unix socket, too.
//
// guarded checks host and right before anything else. right: the token of the listener
// or a session; it is needed for what changes something, and beyond loopback for
// everything but the files of the dashboard, which show nothing, and the login.
func (s *Server) guarded(next http.Handler, local bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, isBearer := cutBearer(r)
		right := s.tcp.takes(given) || s.sessions.hasSession(r)
		question := r.Method == http.MethodGet || r.Method == http.MethodHead
		switch {
		case !knownHost(r.Host):
			reply(w, func() (any, error) {
				return nil, &Error{Kind: Refused, Message: fmt.Sprintf("the host %q is not this machine", r.Host), Hint: "use an IP address or localhost", Code: codeToken}
			})
		case strings.HasPrefix(r.URL.Path, "/api/") && fromElsewhere(r):
			http.Error(w, "requests of other sites are refused", http.StatusForbidden)
		case right, local && !isBearer && question, isFree(r, question):
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), rightKey{}, right)))
		default:
			w.Header().Set("WWW-Authenticate", "Bearer")
			reply(w, func() (any, error) {
				return nil, &Error{Kind: Refused, Message: "the token is missing or wrong", Hint: "send Authorization: Bearer TOKEN", Code: codeToken}
			})
		}
	})
}

// fromElsewhere reports whether a browser says that a page of another site, or of another
// port of this host, asks. http.CrossOriginProtection refuses what such a page wants to
// change; a question it could not read the answer of, but it could keep the node busy.
func fromElsewhere(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	return site != "" && site != "same-origin" && site != "none"
}
