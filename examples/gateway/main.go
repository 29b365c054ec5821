// Command gateway is a WebSocket gateway on several machines: any node pushes to any
// user, users see who is online, and rooms reach everybody. A node that drains, or is
// replaced in place, loses no message that its sender was told is accepted.
//
//	go run ./examples/gateway                                                    # http://127.0.0.1:9000, prints how to join
//	go run ./examples/gateway -address 127.0.0.1:9001 -join 127.0.0.1:41234      # another node of it
//
// See README.md.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/drain"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	node, cfg, err := flags(os.Args[1:], os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "gateway:", err)
		os.Exit(2)
	}
	if err := run(ctx, node, cfg, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "gateway:", err)
		os.Exit(1)
	}
}

// flags reads the command line.
func flags(args []string, errs io.Writer) (node cluster.Config, cfg config, err error) {
	cfg.limits, cfg.user = defaults(), queryUser
	f := flag.NewFlagSet("gateway", flag.ContinueOnError)
	f.SetOutput(errs)
	f.StringVar(&cfg.address, "address", "127.0.0.1:9000", "host:port of clients")
	f.StringVar(&cfg.handover, "handover", "", "path of a socket: take over from the process that serves there, and let a newer one take over")
	f.StringVar(&node.Name, "name", "", "name of the node, unique also during a hand-over (default: one that nobody has)")
	f.DurationVar(&cfg.limits.spread, "spread", cfg.limits.spread, "within which the clients are sent away at the end")
	join := f.String("join", "", "host:port of the first node, or of several, with commas between them")
	origins := f.String("origin", "", "origins (https://shop.example) whose pages may connect, with commas between them")
	cert, key := f.String("cert", "", "file of the certificate for TLS"), f.String("key", "", "file of its key")
	if err := f.Parse(args); err != nil {
		return node, cfg, err
	}
	if f.NArg() > 0 {
		return node, cfg, fmt.Errorf("there are no arguments but flags: %q", f.Args())
	}
	if *join == "" && cfg.handover != "" {
		return node, cfg, errors.New("-handover needs -join: a node that carries the NATS server itself would take it along when it is replaced")
	}
	if *join == "" {
		node.Listen = "127.0.0.1:0" // where other nodes join
	} else {
		node.Join = strings.Split(*join, ",")
	}
	if *origins != "" {
		cfg.origins = strings.Split(*origins, ",")
	}
	if *cert != "" || *key != "" {
		pair, err := tls.LoadX509KeyPair(*cert, *key)
		if err != nil {
			return node, cfg, err
		}
		cfg.tls = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	}
	node.Logger = hclog.New(&hclog.LoggerOptions{Name: "gateway", Level: hclog.Warn})
	return node, cfg, nil
}

// run serves until ctx ends or a newer process has taken over. Then the clients are sent away
// and the node drains.
func run(ctx context.Context, nodeConfig cluster.Config, cfg config, out io.Writer) error {
	node, err := cluster.Start(ctx, nodeConfig)
	if err != nil {
		return err
	}
	defer node.Close()
	g, err := open(ctx, node, cfg, out)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "clients:", g.server.Addrs()[0])
	fmt.Fprintln(out, "nodes:", strings.TrimPrefix(node.URL(), "nats://"))
	select {
	case <-ctx.Done():
		fmt.Fprintln(out, "going away")
	case <-g.replaced():
		fmt.Fprintln(out, "replaced")
	case <-node.Done():
		return node.Reason()
	}
	limit := cfg.limits.spread + cfg.limits.farewell + 5*time.Second
	if err := g.goAway(time.Now().Add(limit)); err != nil {
		return err
	}
	return drain.Node(context.WithoutCancel(ctx), node, drain.Limit(drain.Connections, limit))
}
