package cluster_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

// lobby is what the connections and functions of one loop share. Only that loop uses
// it, so it needs no lock.
type lobby struct {
	name    string
	clients int
}

var lobbies = &loopnode.PerLoop[*lobby]{New: func(l *loopnode.Loop) *lobby { return &lobby{name: l.Name()} }}

// visit is a registered function: PerLoop.From finds the state of the loop it runs on.
var visit = cluster.Func("example.visit", func(ctx context.Context, _ struct{}) (string, error) {
	here, err := lobbies.From(ctx)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s has %d clients", here.name, here.clients), nil
})

// guest is a protocol: PerLoop.On finds the state of its transport's loop.
type guest struct{ here *lobby }

func (g *guest) ConnectionMade(t transportactors.Transport) {
	g.here, _ = lobbies.On(t.Loop()) // fails on a closed loop only
	g.here.clients++
	_ = t.Write([]byte("."))
}
func (g *guest) DataReceived([]byte)  {}
func (g *guest) ConnectionLost(error) { g.here.clients-- }

// The connections of one server live on two loops, and a function that is called on a
// loop sees the connections of that loop.
func ExampleNode_NewLoop() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	node, err := cluster.Start(ctx, cluster.Config{Name: "hotel", Logger: hclog.NewNullLogger()})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer node.Close()
	east, err1 := node.NewLoop("east")
	west, err2 := node.NewLoop("west")
	if err1 != nil || err2 != nil {
		fmt.Println(err1, err2)
		return
	}
	l, _ := east.Local()
	at, err := loopnode.CreateTask(l.Context(ctx), "serve", func(ctx context.Context) (string, error) {
		s, err := transportactors.CreateServer(ctx, func() *guest { return &guest{} }, "tcp", "127.0.0.1:0", transportactors.WithLoops(east, west, west))
		if err != nil {
			return "", err
		}
		return s.Addrs()[0].String(), nil
	}).Await(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 3 { // each loop gets its turn
		c, err := net.Dial("tcp", at)
		if err != nil {
			fmt.Println(err)
			return
		}
		defer c.Close()
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Println(visit.Call(ctx, east, struct{}{}))
	fmt.Println(visit.Call(ctx, west, struct{}{}))
	// Output:
	// east has 1 clients <nil>
	// west has 2 clients <nil>
}
