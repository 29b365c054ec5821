package admin

import (
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// A client over TCP, for a node of another machine. In place of the file permissions of a
// socket it has a token, which goes with every request; so it goes to one host only, and a
// redirection is an answer that is not understood and not followed.

// Why no file of authorities and no client certificate? The listener does not encrypt: what is in
// front of it does, and its certificate is one that this machine knows, or SSL_CERT_FILE names
// its authority. Why no proxy of the environment? A token should not pass one that somebody has
// set for a browser; a tunnel (ssh -L) to loopback is the way through.
//
// What a node without the token's right answers is its error, with a code: on loopback whoever
// asks may look, and may change nothing.

// NewRemoteClient returns a client for the admin API at address (http:// or https://, a host
// and a port), with the token of its listener, "" for none. It connects with the first
// request. Certificates are checked with the authorities of this machine. Error: kind
// BadRequest for what is no address.
func NewRemoteClient(address, token string) (*Client, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, &Error{Kind: BadRequest, Message: fmt.Sprintf("%q is no address of an admin API", address), Hint: "write https://host:port"}
	}
	through := &bearer{token, u.Host, &http.Transport{TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: time.Minute}}
	c := &Client{path: u.Scheme + "://" + u.Host, base: u.Scheme + "://" + u.Host, http: &http.Client{Transport: through}}
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c, nil
}

// bearer adds the token to each request that goes to the host which it was given for. The rest is
// the transport's: connections are kept between requests, and closed by Close of the client.
type bearer struct {
	token, host string
	*http.Transport
}

// RoundTrip sends a copy: a request belongs to its sender.
func (b *bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.token != "" && r.URL.Host == b.host {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+b.token)
	}
	return b.Transport.RoundTrip(r)
}
