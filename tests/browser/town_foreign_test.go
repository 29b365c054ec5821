//go:build foreign

package browser

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/admin"
	"github.com/loopmesh/loopmesh/cluster/clustertest"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

// town is three nodes that anybody can look at, n1 over TCP.
type town struct {
	*clustertest.Cluster
	admin   map[string]*admin.Server
	address string            // of n1's dashboard
	servers map[string]string // of each node, where its echo server listens
}

// found makes a town. Each node has two loops, io-0 with an echo server.
func found(t *testing.T) *town {
	t.Helper()
	w := &town{admin: map[string]*admin.Server{}, servers: map[string]string{}}
	w.Cluster = clustertest.New(t, 3, func(name string, cfg *cluster.Config) {
		cfg.Prepare = func(ctx context.Context, n *cluster.Node) error {
			for _, loop := range []string{"io-0", "io-1"} {
				if _, err := n.NewLoop(loop); err != nil {
					return err
				}
			}
			s, err := admin.Open(n, hclog.NewNullLogger())
			if err != nil {
				return err
			}
			w.admin[name] = s
			w.servers[name], err = serve(ctx, n)
			return err
		}
	})
	t.Cleanup(w.admin["n1"].Close)
	at, err := w.admin["n1"].ListenTCP("127.0.0.1:0", "a token that is long enough")
	if err != nil {
		t.Fatal(err)
	}
	w.address = at.String()
	return w
}

// serve starts an echo server on a node's loop io-0.
func serve(ctx context.Context, n *cluster.Node) (string, error) {
	ref, _ := n.Loop("io-0")
	loop, _ := ref.Local()
	return loopnode.RunCoroutineThreadsafe(loop.Ref(), "serve", func(ctx context.Context) (string, error) {
		s, err := transportactors.StartServer(ctx, func(_ context.Context, s *transportactors.Stream) error {
			_, err := io.Copy(s, s)
			return err
		}, "tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		return s.Addrs()[0].String(), nil
	}).Wait(ctx)
}

// task starts a task on a loop of the town. It ends with its loop.
func (w *town) task(t *testing.T, node, loop, name string, fn func(ctx context.Context) error) {
	t.Helper()
	ref, ok := w.Node(node).Loop(loop)
	if !ok {
		t.Fatalf("%s has no loop %s", node, loop)
	}
	l, _ := ref.Local()
	if err := l.Ref().CallSoonThreadsafe(func() { loopnode.Go(w.Node(node).Context(l.Context(context.Background())), name, fn) }); err != nil {
		t.Fatal(err)
	}
}

// forever waits until the loop ends.
func forever(ctx context.Context) error { return loopnode.Sleep(ctx, 24*time.Hour) }

// client connects to a node's echo server and has its bytes answered once.
func (w *town) client(t *testing.T, node string) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", w.servers[node], patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintln(c, "hello"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || line != "hello\n" {
		t.Fatalf("%q %v", line, err)
	}
	return c
}
