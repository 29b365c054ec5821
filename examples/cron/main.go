// Command cron is a durable schedule: a report each time of a rule, by whichever of its
// processes lives. Kill them as you like: no time is lost, and none counts twice.
//
//	go run ./examples/cron store /tmp/cron                 # keeps the store, prints where to join
//	go run ./examples/cron work w1 127.0.0.1:41234         # runs the reports; start several
//	go run ./examples/cron add 127.0.0.1:41234 nightly '@every 2s'
//	go run ./examples/cron show 127.0.0.1:41234
//
// See README.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/durable"
	"github.com/loopmesh/loopmesh/loopnode"
)

const group = "reports"

// report is what runs. It may run twice for one time, when its process dies behind it;
// the sink takes its effect once for each run's id.
var report = cluster.Func("cron.report", func(ctx context.Context, name string) (struct{}, error) {
	run, _ := durable.RunOf(ctx)
	node, ok := cluster.NodeOf(ctx)
	if !ok {
		return struct{}{}, errors.New("not called by a node")
	}
	sink, err := durable.NewSink(node, "reports")
	if err != nil {
		return struct{}{}, err
	}
	return struct{}{}, sink.Apply(ctx, run, func(tx *durable.Tx) error {
		text, err := tx.Get(name)
		if err != nil {
			return err
		}
		count, _ := strconv.Atoi(string(text)) // "" is 0
		return tx.Put(name, []byte(strconv.Itoa(count+1)))
	})
})

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "cron:", err)
		os.Exit(1)
	}
}

const usage = "usage: cron store FOLDER [HOST:PORT] | work NAME HOST:PORT | add HOST:PORT ID RULE | show HOST:PORT"

func run(ctx context.Context, args []string, out io.Writer) error {
	switch {
	case len(args) >= 2 && len(args) <= 3 && args[0] == "store":
		at := "127.0.0.1:0"
		if len(args) == 3 {
			at = args[2]
		}
		return serve(ctx, out, cluster.Config{Name: "store", Listen: at, StoreDir: args[1]})
	case len(args) == 3 && args[0] == "work":
		return serve(ctx, out, cluster.Config{Name: args[1], Join: []string{args[2]}, Prepare: work})
	case len(args) == 4 && args[0] == "add":
		return visit(ctx, args[1], func(n *cluster.Node) error {
			return durable.Repeat(ctx, n, args[2], report, args[2], args[3], durable.Group(group))
		})
	case len(args) == 2 && args[0] == "show":
		return visit(ctx, args[1], func(n *cluster.Node) error { return show(ctx, n, out) })
	}
	return errors.New(usage)
}

// serve runs a node until ctx ends.
func serve(ctx context.Context, out io.Writer, cfg cluster.Config) error {
	cfg.Logger = hclog.New(&hclog.LoggerOptions{Name: cfg.Name, Level: hclog.Warn})
	node, err := cluster.Start(ctx, cfg)
	if err != nil {
		return err
	}
	defer node.Close()
	fmt.Fprintln(out, "join:", node.URL())
	<-ctx.Done()
	return nil
}

// work lets the node run the reports whenever it is the one that owns them.
func work(_ context.Context, node *cluster.Node) error {
	loop, err := node.NewLoop("io-0", func(c *loopnode.Config) { c.Logger = hclog.NewNullLogger() })
	if err != nil {
		return err
	}
	_, err = durable.Serve(node, group, loop)
	return err
}

// visit joins for as long as do takes.
func visit(ctx context.Context, at string, do func(*cluster.Node) error) error {
	node, err := cluster.Start(ctx, cluster.Config{Join: []string{at}, Logger: hclog.NewNullLogger()})
	if err != nil {
		return err
	}
	defer node.Close()
	return do(node)
}

// show prints each schedule and how many reports it has made.
func show(ctx context.Context, node *cluster.Node, out io.Writer) error {
	list, err := durable.Timers(ctx, node, group)
	if err != nil {
		return err
	}
	sink, err := durable.NewSink(node, "reports")
	for _, t := range list {
		var count []byte
		if err == nil {
			count, err = sink.Get(ctx, t.ID)
		}
		fmt.Fprintf(out, "%s %s %s next %s made %s\n", t.ID, t.Rule, t.State, t.Due.Format(time.RFC3339), count)
	}
	return err
}
