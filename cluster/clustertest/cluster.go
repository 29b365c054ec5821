package clustertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/events"
	"github.com/loopmesh/loopmesh/cluster/internal/engine"
)

// T is the part of *testing.T that a Cluster uses.
type T interface {
	Helper()
	Fatalf(format string, args ...any)
	Cleanup(func())
}

// Patience bounds every wait of a Cluster.
const Patience = 20 * time.Second

// Cluster is nodes that talk through one NATS server. Its methods belong to the
// goroutine of the test; they fail the test when something does not work.
//
// The server belongs to a node of a cluster of its own, so that no node of the test
// is special: each of them can be crashed, and the others can still talk.
type Cluster struct {
	t      T
	broker *cluster.Node // runs the NATS server; of a cluster of its own
	names  []string
	nodes  map[string]*place
}

// place is what outlives a node of one name: the configuration it is started with, and
// its proxy.
type place struct {
	cfg   cluster.Config
	node  *cluster.Node // nil: it was crashed
	proxy *proxy
}

// New starts count nodes n1, n2, … and waits until they know each other. configure,
// which may be nil, changes the configuration of one before it starts, for example sets
// Prepare to make its loops. They end with the test.
func New(t T, count int, configure func(name string, cfg *cluster.Config)) *Cluster {
	t.Helper()
	c := &Cluster{t: t, nodes: map[string]*place{}}
	var err error
	quiet := hclog.NewNullLogger()
	if c.broker, err = c.start(cluster.Config{Cluster: "clustertest-broker", Name: "broker", Listen: "127.0.0.1:0", Logger: quiet}, nil); err != nil {
		t.Fatalf("clustertest: the NATS server: %v", err)
	}
	t.Cleanup(c.broker.Close)
	for i := range count {
		name := fmt.Sprintf("n%d", i+1)
		p := &place{cfg: cluster.Config{
			Heartbeat: 50 * time.Millisecond, DeadAfter: 500 * time.Millisecond, Logger: quiet,
		}}
		if p.proxy, err = newProxy(strings.TrimPrefix(c.broker.URL(), "nats://")); err != nil {
			t.Fatalf("clustertest: a proxy: %v", err)
		}
		t.Cleanup(p.proxy.close)
		p.cfg.URL = "nats://" + p.proxy.address()
		c.add(name, p, configure)
	}
	c.Together()
	return c
}

// add starts the node of a place.
func (c *Cluster) add(name string, p *place, configure func(name string, cfg *cluster.Config)) {
	p.cfg.Name = name
	if configure != nil {
		configure(name, &p.cfg)
	}
	c.names = append(c.names, name)
	c.nodes[name] = p
	c.Restart(name)
	c.t.Cleanup(func() {
		if p.node != nil {
			p.node.Close()
		}
	})
}

func (c *Cluster) start(cfg cluster.Config, through *proxy) (*cluster.Node, error) {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if through != nil {
		ctx = engine.Through(ctx, through.pass)
	}
	return cluster.Start(ctx, cfg)
}

// Names are the names of all nodes, also of those that were crashed.
func (c *Cluster) Names() []string { return slices.Clone(c.names) }

// Node is the node of that name. It fails the test when the node was crashed.
func (c *Cluster) Node(name string) *cluster.Node {
	c.t.Helper()
	p := c.place(name)
	if p.node == nil {
		c.t.Fatalf("clustertest: %s was crashed: call Restart", name)
	}
	return p.node
}

func (c *Cluster) place(name string) *place {
	c.t.Helper()
	p := c.nodes[name]
	if p == nil {
		c.t.Fatalf("clustertest: no node is named %q; there are %v", name, c.names)
	}
	return p
}

// Cut stops all bytes between a node and the server. No connection ends.
func (c *Cluster) Cut(name string) { c.t.Helper(); c.proxyOf(name).cut(true) }

func (c *Cluster) proxyOf(name string) *proxy { c.t.Helper(); return c.place(name).proxy }

// Unplug ends a node's connections and refuses new ones.
func (c *Cluster) Unplug(name string) { c.t.Helper(); c.proxyOf(name).unplug(true) }

// Heal takes Cut and Unplug back.
func (c *Cluster) Heal(name string) {
	c.t.Helper()
	proxy := c.proxyOf(name)
	proxy.unplug(false)
	proxy.cut(false)
}

// Delay makes what a node sends and receives so much later. Zero takes it back.
func (c *Cluster) Delay(name string, d time.Duration) { c.t.Helper(); c.proxyOf(name).delay(d) }

// Crash ends a node without a goodbye: its connections end first, and it is closed
// only when it knows that, so that its goodbye reaches nobody.
func (c *Cluster) Crash(name string) {
	c.t.Helper()
	p := c.place(name)
	node, proxy := c.Node(name), c.proxyOf(name)
	proxy.unplug(true)
	c.Eventually(name+" is off the server", func() bool { return node.Stats().Disconnects > 0 })
	node.Close()
	p.node = nil
}

// Restart starts a node that was crashed, as another incarnation and with its proxy
// healed. One that lives leaves first.
func (c *Cluster) Restart(name string) {
	c.t.Helper()
	p := c.place(name)
	if p.node != nil {
		p.node.Close()
	}
	c.Heal(name)
	var err error
	if p.node, err = c.start(p.cfg, p.proxy); err != nil {
		p.node = nil
		c.t.Fatalf("clustertest: %v", err)
	}
}

// Knows reports whether the node of the first name takes the one of the second for
// a member.
func (c *Cluster) Knows(name, other string) bool {
	c.t.Helper()
	return slices.ContainsFunc(c.Node(name).Members(), func(m events.Member) bool { return m.Name == other })
}

// Together waits until every node that lives knows exactly those that live, in their
// present incarnations.
func (c *Cluster) Together() {
	c.t.Helper()
	c.Eventually("all nodes know each other", func() bool {
		want := map[string]uint64{}
		for name, p := range c.nodes {
			if p.node != nil {
				want[name] = p.node.Incarnation()
			}
		}
		for name := range want {
			have := c.nodes[name].node.Members()
			if len(have) != len(want) || slices.ContainsFunc(have, func(m events.Member) bool { return want[m.Name] != m.Incarnation }) {
				return false
			}
		}
		return true
	})
}

// Eventually waits until ok, and fails the test when that takes more than Patience: then
// it prints what each node knows.
func (c *Cluster) Eventually(what string, ok func() bool) {
	c.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(Patience)
	defer limit.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit.C:
			c.t.Fatalf("clustertest: after %v still not so: %s\n%s", Patience, what, c.report())
			return
		}
	}
}

// report is what each node knows, for people.
func (c *Cluster) report() string {
	var b strings.Builder
	for _, name := range c.names {
		p := c.nodes[name]
		b.WriteString(name)
		fmt.Fprintf(&b, ", proxy %s", p.proxy)
		if p.node == nil {
			b.WriteString(": crashed\n")
			continue
		}
		s := p.node.Stats()
		fmt.Fprintf(&b, "\n\tmembers")
		for _, m := range p.node.Members() {
			fmt.Fprintf(&b, " %s@%d", m.Name, m.Incarnation)
		}
		fmt.Fprintf(&b, "\n\tloops   %s\n\tcalls   %d of this node wait, %d of others run; %d without an answer under way, %d for later; %d lost, %d did not run\n",
			strings.Join(p.node.Loops(), " "), s.InFlight, s.Inbound, s.UnderWay, s.Timers, s.Lost, s.Refusals)
		fmt.Fprintf(&b, "\tlink    %d times lost, %d times back; %d nodes given up\n", s.Disconnects, s.Reconnects, s.NodesDown)
		if err := p.node.Reason(); err != nil && !errors.Is(err, cluster.ErrClosed) {
			fmt.Fprintf(&b, "\tended   %v\n", err)
		}
	}
	return b.String()
}
