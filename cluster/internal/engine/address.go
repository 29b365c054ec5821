package engine

import (
	"errors"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Addresses in the configuration: reading them, refusing wrong ones with what to
// write instead, and deciding what only this machine can reach. Invariant: an address
// from URL or Join may hold a user's password, so none is logged or put into an error
// but through withoutPasswords or Redacted.

// servers are the addresses that the node connects to as a client.
func (c *Config) servers() []string {
	list := c.Join
	if c.URL != "" {
		list = strings.Split(c.URL, ",")
	}
	out := make([]string, 0, len(list))
	for _, s := range list {
		s = strings.TrimSpace(s)
		if !strings.Contains(s, "://") {
			s = "nats://" + s
		}
		out = append(out, s)
	}
	return out
}

// checkAddresses refuses what cannot be an address of NATS, without telling the
// passwords in it.
func (c *Config) checkAddresses() error {
	if _, _, err := c.listenAddress(); err != nil {
		return err
	}
	field := "URL"
	if len(c.Join) > 0 {
		field = "Join"
	}
	list := c.servers()
	if len(list) > maxServers {
		return badConfig("%s has %d addresses: the most is %d", field, len(list), maxServers)
	}
	for _, s := range list {
		if err := checkURL(field, s); err != nil {
			return err
		}
	}
	return nil
}

// checkURL refuses an address that nats.go would misread: without a host, or with a
// scheme that is not NATS's.
func checkURL(field, s string) error {
	u, err := readURL(s)
	switch {
	case err != nil:
		return badConfig("%s has an address that cannot be read (%v): use nats://host:port", field, err)
	case u.Hostname() == "":
		return badConfig("%s has an address without a host: use nats://host:port", field)
	}
	switch u.Scheme {
	case "nats", "tls", "ws", "wss":
		return nil
	}
	return badConfig("%s is %q: use nats://host:port, or the schemes tls, ws and wss", field, u.Redacted())
}

// readURL reads one address; its errors do not repeat it.
func readURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	var e *url.Error
	if errors.As(err, &e) {
		err = e.Err
	}
	return u, err
}

// withoutPasswords is a list of addresses for people.
func withoutPasswords(list []string) string {
	var out []string
	for _, s := range list {
		if u, err := readURL(s); err == nil {
			out = append(out, u.Redacted())
		}
	}
	return strings.Join(out, ",")
}

// JoinAddresses are the addresses (host:port) of all servers that a node can join: of a
// voter's cluster those that have told theirs, and for a voter that has not, its host in
// Routes with the port of this one, if each voter has a host of its own. This server is the
// first; none when it listens on nothing. Of a client they are the server that it uses, and the
// others that it was told to join: who copies them loses no voter.
func (e *Engine) JoinAddresses() (out []string) {
	add := func(address string) {
		if _, at, ok := strings.Cut(address, "://"); ok {
			address = at
		}
		if address != "" && !slices.Contains(out, address) {
			out = append(out, address)
		}
	}
	add(e.URL())
	for _, other := range e.cfg.Join {
		add(other)
	}
	if len(out) == 0 || !e.cfg.clustered() {
		return out
	}
	for _, known := range e.control.current().nats.DiscoveredServers() {
		add(known)
	}
	hosts := map[string]bool{}
	for _, at := range append(slices.Clone(out), e.cfg.Routes...) {
		host, _, _ := hostPort(at)
		hosts[host] = true
	}
	_, port, _ := strings.Cut(out[0][strings.LastIndexByte(out[0], ']')+1:], ":")
	if len(hosts) != len(e.cfg.Routes) { // several on one machine have different ports
		return out
	}
	for _, r := range e.cfg.Routes {
		host, _, _ := hostPort(r)
		if !slices.ContainsFunc(out, func(have string) bool { h, _, _ := hostPort(have); return h == host }) {
			add(net.JoinHostPort(host, port))
		}
	}
	return out
}

// hostPort splits host:port. The host may be missing.
func hostPort(s string) (host string, port int, ok bool) {
	host, text, err := net.SplitHostPort(s)
	if err != nil {
		return "", 0, false
	}
	port, err = strconv.Atoi(text)
	return host, port, err == nil && port >= 0 && port <= 65535
}

// listenAddress splits Listen. Nothing listens beyond loopback unless the host
// says so.
func (c *Config) listenAddress() (host string, port int, err error) {
	if c.Listen == "" {
		return "", 0, nil
	}
	host, port, ok := hostPort(c.Listen)
	if !ok {
		return "", 0, badConfig("Listen is %q: use host:port, for example 127.0.0.1:4222", c.Listen)
	}
	if host == "" {
		host = loopback
	}
	return host, port, nil
}

const loopback = "127.0.0.1"

// isLoopback reports whether only this machine reaches the host. A name other than
// localhost could mean anything tomorrow.
func isLoopback(host string) bool {
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback()
	}
	return host == "localhost"
}

// isLocal reports whether host is an address of this machine. A name is looked up;
// one that cannot be is not local.
func isLocal(host string) bool {
	ips := []net.IP{net.ParseIP(host)}
	if ips[0] == nil {
		var err error
		if ips, err = net.LookupIP(host); err != nil {
			return false
		}
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range own {
		for _, ip := range ips {
			if n, ok := a.(*net.IPNet); ok && n.IP.Equal(ip) || ip.IsLoopback() {
				return true
			}
		}
	}
	return false
}
