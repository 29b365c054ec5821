// Command fleet runs commands on many machines at once and shows their output while they
// run. An agent on each machine offers commands; the desk starts them, on all or on some,
// and answers HTTP with their lines:
//
//	go run ./examples/fleet desk 127.0.0.1:4222 127.0.0.1:8080   # where agents join, and HTTP
//	go run ./examples/fleet agent web1 127.0.0.1:4222            # on each machine
//	go run ./examples/fleet agent web2 127.0.0.1:4222
//	curl -N -X POST 127.0.0.1:8080/run/load
//	curl -N -X POST '127.0.0.1:8080/run/watch?on=web1&seconds=1' # Ctrl-C of curl ends it there, too
//
// See README.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/process"
)

// commands are what an agent lets the desk run: programs of the machine, with arguments of
// which each is checked. Nothing else can be started, whoever asks.
var commands = []process.Profile{
	{Name: "load", Argv: []string{"/bin/cat", "/proc/loadavg"}},
	{
		Name: "disk", Argv: []string{"/bin/df", "-P", "{path}"},
		Args: map[string]string{"path": "/[A-Za-z0-9/_.-]*"}, Defaults: map[string]string{"path": "/"},
	},
	{
		Name: "log", Argv: []string{"/usr/bin/tail", "-n", "{lines}", "-F", "/var/log/{file}"},
		Args: map[string]string{"file": "[A-Za-z0-9_-][A-Za-z0-9_.-]*", "lines": "[0-9]{1,4}"}, Defaults: map[string]string{"lines": "10"},
	},
	{
		Name: "watch", Argv: []string{"/bin/sh", "-c", `while cat /proc/loadavg; do sleep "$1"; done`, "watch", "{seconds}"},
		Args: map[string]string{"seconds": "[0-9.]{1,5}"}, Defaults: map[string]string{"seconds": "2"},
		MaxTime: time.Hour,
	},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

const usage = "usage: fleet desk HOST:PORT HOST:PORT | agent NAME HOST:PORT"

func run(ctx context.Context, args []string, out io.Writer) error {
	switch {
	case len(args) == 3 && args[0] == "desk":
		return serveDesk(ctx, args[1], args[2], out)
	case len(args) == 3 && args[0] == "agent":
		return serveAgent(ctx, args[1], args[2], out)
	}
	return errors.New(usage)
}

// serveAgent offers the commands until ctx ends. Allow is for a cluster without keys, where
// every node has these rights; with keys (docs/three-machines.md) the desk's say spawn:*, and
// those of the agents do not.
func serveAgent(ctx context.Context, name, at string, out io.Writer) error {
	node, err := cluster.Start(ctx, cluster.Config{
		Name: name, Join: []string{at}, Logger: quiet(), Allow: []string{"spawn:*"},
		Prepare: func(_ context.Context, n *cluster.Node) error { return process.Offer(n, commands...) },
	})
	if err != nil {
		return err
	}
	defer node.Close()
	fmt.Fprintln(out, "agent", name)
	<-ctx.Done()
	return nil
}

// serveDesk starts the node that the agents join, and HTTP, until ctx ends.
func serveDesk(ctx context.Context, join, web string, out io.Writer) error {
	node, err := cluster.Start(ctx, cluster.Config{Name: "desk", Listen: join, Logger: quiet(), Allow: []string{"none"}})
	if err != nil {
		return err
	}
	defer node.Close()
	l, err := net.Listen("tcp", web)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: (&desk{node}).handler(), ReadHeaderTimeout: 5 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	stop := context.AfterFunc(ctx, func() {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(ending) // requests end with ctx
	})
	defer stop()
	fmt.Fprintln(out, "join", node.URL())
	fmt.Fprintln(out, "http", "http://"+l.Addr().String())
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func quiet() hclog.Logger { return hclog.New(&hclog.LoggerOptions{Name: "fleet", Level: hclog.Error}) }
