package admin

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/loopmesh/loopmesh/cluster/dashboard"
)

// The API over TCP, for what cannot open a unix socket: a scraper of metrics, a
// browser, another machine. There the file permissions of the socket are missing, so a
// token stands in their place: beyond loopback for every request, on loopback for
// everything that changes something, since every user of the machine reaches the port.
//
// A name in the Host header that is not an address of this machine is refused: a page
// of another site whose name was made to point here (DNS rebinding) would have one. A
// page that does reach the port is stopped by http.CrossOriginProtection when it would
// change something, and cannot read answers, since no header allows it to.
//
// What the token does not do: it does not hide what is sent. Between machines the port
// belongs behind something that encrypts; the token travels in each request.

// tcpListener is what ListenTCP made.
type tcpListener struct {
	http     *http.Server
	listener net.Listener
	token    atomic.Pointer[string]
	local    bool // reached from this machine only
	done     chan struct{}
}

// minToken keeps out tokens that can be guessed. It counts bytes and not entropy: a long
// token of one letter passes, and is the fault of who chose it.
const minToken = 16

// ListenTCP takes requests at address (host:port; port 0 takes a free one) and returns
// where. Beyond loopback every request needs token, on loopback those that change
// something; without a token they are refused. It does not encrypt: beyond loopback put
// it behind something that does. It does not wait. Close ends it. Errors: ErrNeedsToken,
// and those of net.Listen.
func (s *Server) ListenTCP(address, token string) (net.Addr, error) {
	if err := CheckTCP(address, token); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("admin API on %s: %w", address, err)
	}
	local := l.Addr().(*net.TCPAddr).IP.IsLoopback()
	if !local && token == "" { // a name that means something else than a moment ago
		_ = l.Close()
		return nil, fmt.Errorf("%w: %s is reached from other machines", ErrNeedsToken, address)
	}
	t := &tcpListener{listener: l, local: local, done: make(chan struct{})}
	t.token.Store(&token)
	t.http = &http.Server{
		Handler: s.guarded(s.handler(), local), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10, ErrorLog: s.httpLog(),
	}
	s.tcp = t
	// goroutine: owner: the server; ends when Close closes the listener
	go func() {
		defer close(t.done)
		if err := t.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("the admin port is closed", "error", err)
		}
	}()
	return l.Addr(), nil
}

// SetToken puts another token in the place of the one of ListenTCP: requests with the old one
// are refused from then on, and every session and link that was made with it has ended. It
// does nothing where nothing listens on TCP. It does not wait; any goroutine. Error:
// ErrNeedsToken, and then the old one holds.
func (s *Server) SetToken(token string) error {
	t := s.tcp
	switch {
	case t == nil:
		return nil
	case token != "" && len(token) < minToken, token == "" && !t.local:
		return CheckTCP(t.listener.Addr().String(), token)
	}
	if old := t.token.Swap(&token); *old != token {
		s.sessions.end()
	}
	return nil
}

// CheckTCP says whether ListenTCP would refuse the two before it listens. It may look a name
// up. Errors: as of ListenTCP.
func CheckTCP(address, token string) error {
	if token != "" && len(token) < minToken {
		return fmt.Errorf("%w: it has %d bytes, give at least %d", ErrNeedsToken, len(token), minToken)
	}
	at, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return fmt.Errorf("admin API on %s: %w", address, err)
	}
	if !at.IP.IsLoopback() && token == "" {
		return fmt.Errorf("%w: %s is reached from other machines", ErrNeedsToken, address)
	}
	return nil
}

// ErrNeedsToken: the API would be open to other machines without a token, or the token
// is too short.
var ErrNeedsToken = errors.New("the admin API needs a token")

// closeTCP ends the port and what is under way there.
func (s *Server) closeTCP() {
	if s.tcp != nil {
		_ = s.tcp.http.Close()
		<-s.tcp.done
	}
}

// isFree are the requests that need no right: the probes, since who watches whether a
// process lives has no token; the files of the dashboard; and the login.
func isFree(r *http.Request, question bool) bool {
	switch r.URL.Path {
	case "/livez", "/readyz":
		return true
	case "/":
		return question
	case sessionPath, sessionPath + "/end":
		return r.Method == http.MethodPost
	}
	return question && strings.HasPrefix(r.URL.Path, dashboard.Prefix)
}

// cutBearer is the token that the request brings.
func cutBearer(r *http.Request) (token string, given bool) {
	header := r.Header.Get("Authorization")
	token, _ = strings.CutPrefix(header, "Bearer ")
	return token, header != ""
}

// knownHost takes an IP address and localhost: a name that somebody else controls is
// neither.
func knownHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	_, err := netip.ParseAddr(host)
	return err == nil || host == "localhost"
}
