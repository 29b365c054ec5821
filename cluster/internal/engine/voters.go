package engine

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Voters are the servers of one NATS cluster: 1, 3 or 5, with the same list
// everywhere. Which entry of the list is this node, how many of the others its server
// is connected to, and so whether it is on the larger side of a partition, is decided
// here. Membership asks for the last (Isolated): a node on the smaller side must not
// judge others.

// Votes says how many voters the cluster has and which of them are connected to the
// server this node uses, that server included. Voters is 0 where nobody knows: with
// an external NATS.
type Votes struct {
	Voters    int
	Connected []string // node names, sorted
}

// Majority reports whether more than half of the voters are connected. A node on
// the smaller side of a partition hears nobody of the larger one, which says
// nothing about them.
func (v Votes) Majority() bool { return v.Voters == 0 || 2*len(v.Connected) > v.Voters }

// clustered reports whether the embedded server has routes.
func (c *Config) clustered() bool { return c.Voter && len(c.Routes) > 1 }

// checkVoters refuses numbers of voters that gain nothing: with an even number one
// more server may not be lost than with one less.
func (c *Config) checkVoters() error {
	if !c.Voter {
		return nil
	}
	switch n := len(c.Routes); n {
	case 0:
		return badConfig("Voter needs Routes (--routes): the addresses at which the voters reach each other, the same list on each of them, or the own one alone")
	case 1, 3, 5:
	case 2, 4:
		return badConfig("Routes has %d voters: use 1, 3 or 5. With %d, the loss of %d stops the cluster, as with %d", n, n, n/2, n-1)
	default:
		return badConfig("Routes has %d voters: use 1, 3 or 5, and let the other nodes join them", n)
	}
	seen := map[string]bool{}
	for _, r := range c.Routes {
		host, port, ok := hostPort(r)
		if !ok || host == "" || port == 0 {
			return badConfig("Routes has %q: use host:port, for example 10.0.0.1:6222", r)
		}
		if seen[r] {
			return badConfig("Routes has %s twice", r)
		}
		seen[r] = true
	}
	if c.clustered() && c.Listen == "" {
		return badConfig("a voter needs Listen: other nodes connect to it")
	}
	_, err := c.ownRoute()
	return err
}

// ownRoute is the entry of Routes that is this node: the one RouteListen names,
// else the only one whose host is the node's name, the host of Listen, or an address
// of this machine.
func (c *Config) ownRoute() (string, error) {
	if !c.clustered() {
		return "", nil
	}
	if c.RouteListen != "" {
		if slices.Contains(c.Routes, c.RouteListen) {
			return c.RouteListen, nil
		}
		return "", badConfig("RouteListen is %s, which is not in Routes (%s)", c.RouteListen, strings.Join(c.Routes, ","))
	}
	listen, _, _ := c.listenAddress()
	for _, mine := range []func(host string) bool{
		func(host string) bool { label, _, _ := strings.Cut(host, "."); return label == c.Node },
		func(host string) bool { return host == listen },
		isLocal,
	} {
		if r, ok := c.onlyRoute(mine); ok {
			return r, nil
		}
	}
	return "", badConfig("Routes (%s): none has the name of node %s or the host of Listen, and not exactly one is on this machine, so which one is it? Set RouteListen (--route-listen)",
		strings.Join(c.Routes, ","), c.Node)
}

// onlyRoute is the entry of Routes whose host fits; false when none or several do.
// Several are as bad as none: on one machine all hosts may be local.
func (c *Config) onlyRoute(fits func(host string) bool) (found string, ok bool) {
	for _, r := range c.Routes {
		host, _, _ := hostPort(r)
		if !fits(host) {
			continue
		}
		if ok {
			return "", false
		}
		found, ok = r, true
	}
	return found, ok
}

// routeList is the list of voters in one spelling, to compare.
func (c *Config) routeList() string {
	list := slices.Clone(c.Routes)
	slices.Sort(list)
	return strings.Join(list, ",")
}

// routeURLs is the list for the server. It holds this voter as well: the size of
// the list is how many voters JetStream waits for, so it has to be the same on all.
func (c *Config) routeURLs() ([]*url.URL, error) {
	out := make([]*url.URL, 0, len(c.Routes))
	for _, r := range c.Routes {
		u, err := url.Parse("nats-route://" + r)
		if err != nil {
			return nil, fmt.Errorf("route %s: %w", r, err)
		}
		out = append(out, u)
	}
	return out, nil
}

// votes asks the embedded server which voters it is connected to. The pool has
// several routes to one voter, so names are counted once.
func (e *Engine) votes() Votes {
	routes, err := e.server.nats.Routez(nil)
	if err != nil {
		return Votes{Voters: len(e.cfg.Routes)}
	}
	names := []string{e.cfg.Node}
	for _, r := range routes.Routes {
		names = append(names, r.RemoteName)
	}
	slices.Sort(names)
	return Votes{len(e.cfg.Routes), slices.Compact(names)}
}

// Votes is what this node knows of the voters now.
func (e *Engine) Votes() Votes {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.lastVotes
}

// setVotes keeps and tells a change. Under mu only the values change place; events
// are told outside of it.
func (e *Engine) setVotes(v Votes) {
	e.mu.Lock()
	same := v.Voters == e.lastVotes.Voters && slices.Equal(v.Connected, e.lastVotes.Connected)
	e.lastVotes = v
	e.minority.note(v.Majority(), time.Now())
	e.mu.Unlock()
	if same {
		return
	}
	log := e.log.Info
	if !v.Majority() {
		log = e.log.Warn
	}
	log("voters that are connected", "connected", strings.Join(v.Connected, ","), "voters", v.Voters, "majority", v.Majority())
	if e.cfg.Events.Votes != nil {
		e.cfg.Events.Votes(v)
	}
}
