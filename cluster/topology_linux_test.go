package cluster

import (
	"net/url"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// servers starts NATS servers with the given options, each after the former one, and
// returns them when all accept clients.
func servers(t *testing.T, all ...func(former []*server.Server) *server.Options) (started []*server.Server) {
	t.Helper()
	for _, one := range all {
		o := one(started)
		o.Host, o.Port, o.NoSigs, o.NoLog = "127.0.0.1", server.RANDOM_PORT, true, true
		s, err := server.NewServer(o)
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		if !s.ReadyForConnections(patience) {
			t.Fatal("a server does not start")
		}
		started = append(started, s)
	}
	return started
}

func local(port int) []*url.URL {
	return []*url.URL{{Scheme: "nats", Host: natsURL(port)[len("nats://"):]}}
}

// leaves are a hub and a leaf node of it.
func leaves(t *testing.T) []*server.Server {
	return servers(t, func([]*server.Server) *server.Options {
		return &server.Options{LeafNode: server.LeafNodeOpts{Host: "127.0.0.1", Port: server.RANDOM_PORT}}
	}, func(former []*server.Server) *server.Options {
		v, err := former[0].Varz(nil)
		if err != nil {
			t.Fatal(err)
		}
		return &server.Options{LeafNode: server.LeafNodeOpts{Remotes: []*server.RemoteLeafOpts{{URLs: local(v.LeafNode.Port)}}}}
	})
}

// gateways are two clusters of one server each, joined to a supercluster.
func gateways(t *testing.T) []*server.Server {
	return servers(t, func([]*server.Server) *server.Options {
		return &server.Options{Gateway: server.GatewayOpts{Name: "east", Host: "127.0.0.1", Port: server.RANDOM_PORT}}
	}, func(former []*server.Server) *server.Options {
		v, err := former[0].Varz(nil)
		if err != nil {
			t.Fatal(err)
		}
		return &server.Options{Gateway: server.GatewayOpts{Name: "west", Host: "127.0.0.1", Port: server.RANDOM_PORT,
			Gateways: []*server.RemoteGatewayOpts{{Name: "east", URLs: local(v.Gateway.Port)}}}}
	})
}

// TestOtherTopologiesOfNATS: nodes whose servers are joined by a leaf node or as a
// supercluster are one cluster. Calls, calls without an answer and watching cross, and
// a node that ends without a word on the far side is known dead.
func TestOtherTopologiesOfNATS(t *testing.T) {
	for name, topology := range map[string]func(*testing.T) []*server.Server{"leaf node": leaves, "supercluster": gateways} {
		t.Run(name, func(t *testing.T) {
			all := topology(t)
			at := func(i int) Config {
				return Config{Name: "n" + string(rune('1'+i)), URL: all[i].ClientURL(), Heartbeat: 100 * time.Millisecond, DeadAfter: time.Second}
			}
			n1, n2 := start(t, at(0)), start(t, at(1))
			for _, n := range []*Node{n1, n2} {
				if err := n.WaitMembers(testCtx(t), 2); err != nil {
					t.Fatal(err)
				}
			}
			newLoop(t, n2, "io-0")
			far := refTo(t, n1, "n2/io-0")
			for i := range 100 {
				if got, err := add.Via(n1).Call(testCtx(t), far, sum{i, 1}); got != i+1 || err != nil {
					t.Fatal(got, err)
				}
			}
			const casts = 10_000
			ran := newDoneCounter(casts)
			benched.Store(ran)
			for range casts {
				if err := bench.Via(n1).CallSoon(testCtx(t), far, sum{1, 2}); err != nil {
					t.Fatal(err)
				}
			}
			receive(t, "the last of the calls without an answer", ran.all)
			ended := watchInto(t, n1, "n2/io-0")
			until(t, "the watch stands", acked(n1))
			die(n2)
			wantIs(t, receive(t, "the notice", ended).Reason, ErrNodeDown)
		})
	}
}
