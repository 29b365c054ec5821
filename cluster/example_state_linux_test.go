package cluster_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

// clients are the connections of each loop, by the name that the client gave. Functions
// and protocols of one loop share them without a lock.
var clients = &loopnode.PerLoop[map[string]transportactors.Transport]{
	New: func(*loopnode.Loop) map[string]transportactors.Transport {
		return map[string]transportactors.Transport{}
	},
}

// find gives the address under which other nodes reach the connection of a client.
var find = cluster.Func("example.find", func(ctx context.Context, name string) (string, error) {
	here, err := clients.From(ctx)
	if err != nil {
		return "", err
	}
	node, ok := cluster.NodeOf(ctx)
	t := here[name]
	if t == nil || !ok {
		return "", fmt.Errorf("no client %q", name)
	}
	return node.Actors().Export(t.Ref().Actor()).String(), nil
})

// Write to a connection of another node: a function that runs there tells its address.
func ExampleNode_Transport() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	serve := func(ctx context.Context, s *transportactors.Stream) error {
		name, err := s.ReadLine()
		if err != nil {
			return err
		}
		here, err := clients.From(ctx)
		if err != nil {
			return err
		}
		here[string(name[:len(name)-1])] = s.Transport()
		fmt.Fprintln(s, "welcome")
		return s.WaitClosed()
	}
	var at net.Addr
	log := hclog.NewNullLogger()
	b, err := cluster.Start(ctx, cluster.Config{Name: "b", Logger: log, Prepare: func(ctx context.Context, n *cluster.Node) error {
		loop, err := n.NewLoop("io-0")
		if err != nil {
			return err
		}
		_, err = loopnode.RunCoroutineThreadsafe(loop, "listen", func(ctx context.Context) (*transportactors.Server, error) {
			s, err := transportactors.StartServer(ctx, serve, "tcp", "127.0.0.1:0")
			if err == nil {
				at = s.Addrs()[0]
			}
			return s, err
		}).Wait(ctx)
		return err // the server ends with the loop
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()
	a, err := cluster.Start(ctx, cluster.Config{Name: "a", Beside: b, Logger: log})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer a.Close()
	client, err := net.Dial("tcp", at.String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	fmt.Fprintln(client, "Ada")
	lines := bufio.NewScanner(client)
	lines.Scan()
	fmt.Println(lines.Text())

	ref, err := a.Ref("b/io-0")
	if err != nil {
		fmt.Println(err)
		return
	}
	address, err := find.Via(a).Call(ctx, ref, "Ada")
	if err != nil {
		fmt.Println(err)
		return
	}
	t, err := a.Transport(ctx, address)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := t.WriteWait(ctx, []byte("hello from node a\n")); err != nil {
		fmt.Println(err)
	}
	t.Close()
	lines.Scan()
	fmt.Println(lines.Text())
	// Output:
	// welcome
	// hello from node a
}
