// Package demo is what the program of this module registers on its nodes: functions to
// try calls with, and a chat. A program of one's own registers its own (package
// nodecmd) and has none of these.
package demo

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cmd/node/chat"
	"github.com/loopmesh/loopmesh/loopnode"
)

// Nothing but registered functions can be called, and what they take is decoded into
// the types that they declare, so no command can make a node run something by accident.

// Example is a call of a function of this package.
const Example = "func call demo.add '[1,2]' --on n1/io-0"

// Chat serves the chat on a loop of its own at address, for a nodecmd.Service. It waits
// until clients can connect.
func Chat(ctx context.Context, node *cluster.Node, address string) (net.Addr, error) {
	room, err := chat.Open(ctx, node, address)
	if err != nil {
		return nil, err
	}
	return net.ResolveTCPAddr("tcp", room.Address())
}

// Functions to try calls with, on every node that this program runs. demo.add shows
// arguments and a result; demo.sleep shows time-outs and cancellation, since it waits
// as long as it is told; demo.where shows on which loop a call really ran.
var (
	_ = cluster.Func("demo.add", func(_ context.Context, in []int) (sum int, err error) {
		for _, v := range in {
			sum += v
		}
		return sum, nil
	})
	_ = cluster.Func("demo.sleep", func(ctx context.Context, in string) (string, error) {
		d, err := time.ParseDuration(in)
		if err != nil {
			return "", fmt.Errorf("demo.sleep takes a duration such as \"1s\": %w", err)
		}
		return "slept " + in, loopnode.Sleep(ctx, d)
	})
	_ = cluster.Func("demo.where", func(ctx context.Context, _ struct{}) (string, error) {
		l, err := loopnode.Running(ctx)
		if err != nil {
			return "", err
		}
		n, ok := cluster.NodeOf(ctx)
		if !ok {
			return "", cluster.ErrNoNode
		}
		return n.Name() + "/" + l.Name(), nil
	})
)
