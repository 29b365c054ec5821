// Command chat is one node of a chat: a line that a client types on one node
// reaches the clients of all nodes, from loop to loop. The first node carries a
// NATS server that the others join:
//
//	go run ./examples/chat 127.0.0.1:7001                  # prints how to join
//	go run ./examples/chat 127.0.0.1:7002 127.0.0.1:41234  # joins
//	nc 127.0.0.1 7001                                      # and nc 127.0.0.1 7002
//
// The room itself, a protocol of a hundred lines, is package cmd/node/chat: the
// one that "loopmesh dev" serves.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/drain"
	"github.com/loopmesh/loopmesh/cmd/node/chat"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	address, join := "127.0.0.1:7001", ""
	if len(os.Args) > 3 {
		fmt.Fprintln(os.Stderr, "usage: chat [host:port [host:port of a node to join]]")
		os.Exit(2)
	}
	if len(os.Args) > 1 {
		address = os.Args[1]
	}
	if len(os.Args) > 2 {
		join = os.Args[2]
	}
	if err := run(ctx, address, join, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "chat:", err)
		os.Exit(1)
	}
}

// run serves clients at address until ctx ends. Without join it starts a cluster.
func run(ctx context.Context, address, join string, out io.Writer) error {
	cfg := cluster.Config{Logger: hclog.New(&hclog.LoggerOptions{Name: "chat", Level: hclog.Warn})}
	if join == "" {
		cfg.Listen = "127.0.0.1:0" // where other nodes join
	} else {
		cfg.Join = []string{join}
	}
	node, err := cluster.Start(ctx, cfg)
	if err != nil {
		return err
	}
	defer node.Close() // and with it the room
	room, err := chat.Open(ctx, node, address)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "clients:", room.Address())
	fmt.Fprintln(out, "nodes:", strings.TrimPrefix(node.URL(), "nats://"))
	<-ctx.Done()
	return drain.Node(context.WithoutCancel(ctx), node) // the clients are told, and then it is closed
}
