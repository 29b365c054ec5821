package main

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cmd/node/chat"
)

const maxDevNodes = 32

// devOptions are the flags of dev.
type devOptions struct {
	nodes, port int
	verbose     bool
}

func newDev() *cobra.Command {
	var o devOptions
	cmd := &cobra.Command{
		Use: "dev", Short: "run a whole cluster in this process, with a chat service to try", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return dev(cmd, o) },
	}
	cmd.Flags().IntVar(&o.nodes, "nodes", 3, "how many nodes")
	cmd.Flags().IntVar(&o.port, "port", 7001, "port of the first node's chat on 127.0.0.1; the others follow; 0: any")
	cmd.Flags().BoolVarP(&o.verbose, "verbose", "v", false, "log to stderr")
	return cmd
}

func dev(cmd *cobra.Command, o devOptions) error {
	switch {
	case o.nodes < 1 || o.nodes > maxDevNodes:
		return usageError{fmt.Errorf("--nodes is %d; give a number from 1 to %d", o.nodes, maxDevNodes)}
	case o.port < 0 || o.port+o.nodes > 1<<16:
		return usageError{fmt.Errorf("--port is %d; give a port so that %d nodes end below 65536", o.port, o.nodes)}
	}
	log := hclog.New(&hclog.LoggerOptions{Name: "loopmesh", Output: cmd.ErrOrStderr(), Level: hclog.Warn})
	if o.verbose {
		log.SetLevel(hclog.Debug)
	}
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	var nodes []*cluster.Node
	defer func() {
		for i := len(nodes) - 1; i >= 0; i-- { // the first carries the others' NATS
			nodes[i].Close()
		}
	}()
	var addresses []string
	for i := range o.nodes {
		node, room, err := devNode(ctx, o, i, nodes, log)
		if node != nil {
			nodes = append(nodes, node)
		}
		if err != nil {
			return err
		}
		addresses = append(addresses, room.Address())
		fmt.Fprintf(out, "%-4s incarnation %016x  chat on %s\n", node.Name(), node.Incarnation(), room.Address())
	}
	if err := nodes[0].WaitMembers(ctx, o.nodes); err != nil {
		return err
	}
	fmt.Fprintf(out, "\n%d nodes are up. Try, in two terminals, and type a line in one of them:\n", o.nodes)
	for _, i := range []int{0, len(addresses) - 1} {
		host, port, _ := net.SplitHostPort(addresses[i])
		fmt.Fprintf(out, "  nc %s %s\n", host, port)
	}
	fmt.Fprintln(out, "Ctrl-C ends it.")
	<-ctx.Done()
	fmt.Fprintln(out, "leaving")
	return nil
}

// devNode starts node i and its room. The node may be there although the room
// failed.
func devNode(ctx context.Context, o devOptions, i int, before []*cluster.Node, log hclog.Logger) (*cluster.Node, *chat.Room, error) {
	name := fmt.Sprintf("n%d", i+1)
	cfg := cluster.Config{Name: name, Logger: log.Named(name)}
	if i > 0 {
		cfg.Beside = before[0]
	}
	node, err := cluster.Start(ctx, cfg)
	if err != nil {
		return nil, nil, fmt.Errorf("starting node %s: %w", name, err)
	}
	port := 0
	if o.port > 0 {
		port = o.port + i
	}
	room, err := chat.Open(ctx, node, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return node, nil, fmt.Errorf("chat of node %s: %w; choose other ports with --port", name, err)
	}
	return node, room, nil
}
