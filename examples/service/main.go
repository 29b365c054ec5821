// Command service is a program of its own that is a node: two functions, an actor and a
// protocol server, with the whole command line of package nodecmd around them. Run it
// as three nodes and look at them:
//
//	go build ./examples/service
//	./service start --name n1 --listen 127.0.0.1:4222 --counter 127.0.0.1:7001 &
//	./service start --name n2 --join 127.0.0.1:4222 --counter 127.0.0.1:7002 &
//	./service start --name n3 --join 127.0.0.1:4222 &
//	./service func call words.count '"to be or not"' --on n3/io-0      # 4
//	nc 127.0.0.1 7002                                                  # each line: its words, and those of all
//	./service ls; ./service ps; ./service actor ls; ./service events
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/nodecmd"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
	"github.com/loopmesh/loopmesh/transportactors/handover"
)

func main() { nodecmd.Main(options...) }

var options = []nodecmd.Option{
	nodecmd.WithName("service"),
	nodecmd.WithPrepare(openTotal),
	nodecmd.WithService(nodecmd.Service{Name: "counter", About: "count the words of each line", Try: "nc HOST PORT", Start: serveCounter}),
	nodecmd.WithExample(`func call words.count '"to be or not"' --on n1/io-0`),
}

// Functions that every node of this program has.
var (
	count   = cluster.Func("words.count", func(_ context.Context, text string) (int, error) { return len(strings.Fields(text)), nil })
	longest = cluster.Func("words.longest", func(_ context.Context, text string) (word string, err error) {
		for _, w := range strings.Fields(text) {
			if len(w) > len(word) {
				word = w
			}
		}
		if word == "" {
			return "", errors.New("there is no word")
		}
		return word, nil
	})
)

// add is a message to the actor "total", which answers the new sum. Any node may send it.
type add struct {
	Words int `json:"words"`
}

var _ = cluster.RegisterMessage[add]("words.add")
var _ = cluster.RegisterMessage[int]("words.sum")

// openTotal makes the actor of a node, on a loop of its own: it keeps how many words
// the node has counted, without a lock.
func openTotal(_ context.Context, node *cluster.Node) error {
	ref, err := node.NewLoop("sums")
	if err != nil {
		return err
	}
	loop, _ := ref.Local()
	_, err = node.Actors().Spawn(loop, "total", func() actors.Actor {
		sum := 0
		return actors.Func(func(ctx *actors.Context) {
			if m, ok := ctx.Message().(add); ok {
				sum += m.Words
				_ = ctx.Reply(sum) // who does not wait any more needs none
			}
		})
	})
	return err
}

// serveCounter is the protocol server: it answers each line with its number of words,
// the sum of this node, and the longest word, which the actor and the functions know.
func serveCounter(ctx context.Context, node *cluster.Node, address string) (net.Addr, error) {
	ref, err := node.NewLoop("counter")
	if err != nil {
		return nil, err
	}
	loop, _ := ref.Local()
	return loopnode.RunCoroutineThreadsafe(loop.Ref(), "serve", func(ctx context.Context) (net.Addr, error) {
		network, at, socket, err := handover.At("tcp", address) // or a socket of systemd: --counter fd://NAME
		if err != nil {
			return nil, err
		}
		s, err := transportactors.StartServer(ctx, func(ctx context.Context, s *transportactors.Stream) error {
			return counter(ctx, node, ref, s)
		}, network, at, socket)
		if err != nil {
			return nil, err
		}
		return s.Addrs()[0], nil
	}).Wait(ctx)
}

// counter is one connection: a task of the loop "counter".
func counter(ctx context.Context, node *cluster.Node, loop loopnode.Ref, s *transportactors.Stream) error {
	for in := bufio.NewScanner(s); in.Scan(); {
		words, err := count.Via(node).Call(ctx, loop, in.Text())
		if err != nil {
			return err
		}
		sum, err := loopnode.Ask(ctx, node.Actors(), actors.RefOf(actors.Address{Node: node.Name(), Path: "total"}), add{words})
		if err != nil {
			return err
		}
		long, err := longest.Via(node).Call(ctx, loop, in.Text())
		if err != nil {
			long = err.Error()
		}
		if _, err := fmt.Fprintf(s, "%d words, %v on %s, longest: %s\n", words, sum, node.Name(), long); err != nil {
			return err
		}
	}
	if err := s.Close(); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
