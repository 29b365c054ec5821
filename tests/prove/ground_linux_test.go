package prove

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/keys"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/tests/prove/history"
)

const shop = "prove" // the cluster

// ground is a cluster of processes and its two clients in this process.
type ground struct {
	t         *testing.T
	dir       string // of the histories
	keys      string
	net       *network // nil: why is in without
	without   error
	processes []*process
	clients   [2]*cluster.Node
	spy       *nats.Conn
}

var (
	voters  = []string{"n1", "n2", "n3"}
	workers = []string{"w1", "w2"}
	clients = []string{"c1", "c2"}
)

// newGround starts the cluster. With apart each process has a network of its own, when
// that is possible.
func newGround(t *testing.T, apart bool, names int) *ground {
	t.Helper()
	g := &ground{t: t, dir: t.TempDir(), keys: filepath.Join(t.TempDir(), "keys")}
	host := func(i int) string { return fmt.Sprintf("127.%d.79.%d", 20+os.Getpid()%200, i) }
	if apart {
		if g.net, g.without = newNetwork(len(voters) + len(workers)); g.without == nil {
			t.Cleanup(g.net.close)
			host = g.net.host
		}
	} else {
		g.without = fmt.Errorf("this form of the run has one network for all")
	}
	g.open()
	g.makeKeys(host)
	var routes, join []string
	for i := range voters {
		routes = append(routes, host(i+1)+":6222")
		join = append(join, host(i+1)+":4222")
	}
	for i, name := range append(append([]string{}, voters...), workers...) {
		p := &process{role: role{Node: name, Keys: filepath.Join(g.keys, "nodes", name), Dir: g.dir, Names: names, Serve: host(i+1) + ":7007"}}
		if i < len(voters) {
			p.role.Voter, p.role.Routes, p.role.Listen, p.role.Store = true, routes, join[i], filepath.Join(t.TempDir(), name)
		} else {
			p.role.Join = join
		}
		if g.net != nil {
			p.inside = g.net.inside(i + 1)
		}
		g.processes = append(g.processes, p)
		t.Cleanup(p.kill)
	}
	g.startAll(g.processes)
	for i, name := range clients {
		g.clients[i] = g.client(name, join)
	}
	g.listen(join)
	return g
}

// open begins the history of the driver.
func (g *ground) open() {
	f, err := os.Create(filepath.Join(g.dir, "driver.jsonl"))
	if err != nil {
		g.t.Fatal(err)
	}
	buffer := bufio.NewWriterSize(f, 1<<20)
	written = history.NewLog("driver.1", monotonic, buffer)
	g.t.Cleanup(func() { _ = f.Close() })
	finish = sync.OnceValue(buffer.Flush)
}

// finish ends the history of the driver.
var finish func() error

func (g *ground) makeKeys(host func(int) string) {
	var nodes []keys.Node
	for i, name := range voters {
		nodes = append(nodes, keys.Node{Name: name, Voter: true, Hosts: []string{host(i + 1)}})
	}
	for _, name := range append(append([]string{"spy"}, workers...), clients...) {
		nodes = append(nodes, keys.Node{Name: name})
	}
	if err := keys.Init(g.keys, shop, nodes...); err != nil {
		g.t.Fatal(err)
	}
}

// startAll starts processes at once: a voter alone serves nobody.
func (g *ground) startAll(all []*process) {
	g.t.Helper()
	var lives []*life
	for _, p := range all {
		l, err := p.begin()
		if err != nil {
			g.t.Fatal(err)
		}
		lives = append(lives, l)
	}
	for i, l := range lives {
		if err := l.serves(all[i].role.Node, startLimit); err != nil {
			g.t.Fatal(err)
		}
	}
}

const startLimit = 60 * time.Second

func (g *ground) client(name string, join []string) *cluster.Node {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	n, err := cluster.Start(ctx, cluster.Config{
		Name: name, Keys: filepath.Join(g.keys, "nodes", name), Join: join, Logger: hclog.NewNullLogger(),
		Prepare: func(_ context.Context, n *cluster.Node) error {
			_, err := n.NewLoop(address, func(c *loopnode.Config) { c.Logger = hclog.NewNullLogger() })
			return err
		},
		OnLoss: func(l cluster.Loss) { lost(name, l) },
	})
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(n.Close)
	return n
}

// listen opens a plain connection to NATS, with keys of its own, that asks who leads.
func (g *ground) listen(join []string) {
	id, err := keys.Load(g.keys, "spy")
	if err != nil {
		g.t.Fatal(err)
	}
	var urls string
	for _, at := range join {
		urls += "tls://" + at + ","
	}
	g.spy, err = nats.Connect(urls[:len(urls)-1], nats.Secure(keys.ClientTLS(func() *keys.Identity { return id })), nats.MaxReconnects(-1), nats.CustomInboxPrefix(shop+".inbox.spy"),
		nats.UserJWT(func() (string, error) { return id.Statement, nil }, func(nonce []byte) ([]byte, error) { return id.Sign(nonce) }))
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(g.spy.Close)
}

// leader is the voter that leads the stream of commands.
func (g *ground) leader() (string, error) { return g.leaderOf("WORK") }

// leaderOf is the voter that leads a stream.
func (g *ground) leaderOf(stream string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	js, err := jetstream.New(g.spy)
	if err != nil {
		return "", err
	}
	s, err := js.Stream(ctx, shop+"-"+stream)
	if err != nil {
		return "", err
	}
	info := s.CachedInfo()
	if info.Cluster == nil || !slices.Contains(voters, info.Cluster.Leader) {
		return "", fmt.Errorf("nobody leads: %+v", info.Cluster)
	}
	return info.Cluster.Leader, nil
}

func (g *ground) process(name string) (int, *process) {
	for i, p := range g.processes {
		if p.role.Node == name {
			return i + 1, p
		}
	}
	g.t.Fatal("no process ", name)
	return 0, nil
}

// together waits until every node knows every other one, and tells how long that took.
func (g *ground) together(limit time.Duration) (time.Duration, error) {
	want := slices.Sorted(slices.Values(append(append(append([]string{}, voters...), workers...), clients...)))
	begin := time.Now()
	for {
		odd := g.odd(want)
		took := time.Since(begin)
		if odd == "" {
			return took, nil
		}
		if took > limit {
			return took, fmt.Errorf("after %v: %s", took, odd)
		}
		<-time.After(50 * time.Millisecond)
	}
}

// odd says who does not know everybody, if there is one.
func (g *ground) odd(want []string) string {
	for _, c := range g.clients {
		if have := known(c); !slices.Equal(have, want) {
			return fmt.Sprintf("%s knows %v", c.Name(), have)
		}
	}
	for _, p := range g.processes {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		ref, err := g.clients[0].Ref(p.role.Node + "/" + address)
		var have []string
		if err == nil {
			have, err = members.Via(g.clients[0]).Call(ctx, ref, struct{}{})
		}
		cancel()
		if err != nil || !slices.Equal(have, want) {
			return fmt.Sprintf("%s knows %v, %v", p.role.Node, have, err)
		}
	}
	return ""
}
