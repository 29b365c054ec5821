package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cluster"
)

const (
	maxLoops     = 256
	defaultLoops = 8 // at most
)

// startOptions are the flags of start.
type startOptions struct {
	name, cluster, natsURL, listen, chat, socket, logLevel string
	join                                                   []string
	loops                                                  int
	server                                                 serverOptions
	login                                                  loginOptions
}

// newStart runs one node. Nothing is read from a file: the flags, or the variables of
// their names (see environment.go), are the whole configuration.
func newStart() *cobra.Command {
	var o startOptions
	cmd := &cobra.Command{
		Use: "start", Short: "run one node until it is interrupted", Args: noArgs,
		Long: startLong,
		Example: "  loopmesh start --name n1 --listen 127.0.0.1:4222 --chat 127.0.0.1:7001\n" +
			"  loopmesh start --name n2 --join 127.0.0.1:4222 --chat 127.0.0.1:7002\n\n" +
			"  loopmesh start --keys ./n1 --voter --routes 10.0.0.1:6222,10.0.0.2:6222,10.0.0.3:6222 --listen 10.0.0.1:4222 --store ./n1-data\n" +
			"  loopmesh start --keys ./n4 --join 10.0.0.1:4222,10.0.0.2:4222,10.0.0.3:4222",
		RunE: func(cmd *cobra.Command, _ []string) error { return start(cmd, o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.name, "name", "", "the node's name, unique in the cluster (default: the machine's)")
	f.StringVar(&o.cluster, "cluster", "", "keeps clusters on one NATS apart (default \"loopmesh\")")
	f.StringSliceVar(&o.join, "join", nil, "host:port of other nodes' servers: give all voters")
	f.StringVar(&o.natsURL, "nats-url", "", "an external NATS to use: one address or several of one cluster")
	o.server.flags(cmd)
	o.login.flags(cmd)
	f.StringVar(&o.listen, "listen", "127.0.0.1:0", "where other nodes may join; port 0: any; \"none\": nowhere")
	f.IntVar(&o.loops, "loops", min(runtime.GOMAXPROCS(0), defaultLoops), "how many loops, io-0 and up")
	f.StringVar(&o.chat, "chat", "", "host:port of a chat service to try things with")
	f.StringVarP(&o.socket, "socket", "s", "", "path of the admin socket (default: where the other commands look)")
	f.StringVar(&o.logLevel, "log-level", "warn", "trace, debug, info, warn, error or off; the log goes to stderr")
	return cmd
}

// config checks what the library cannot know, and leaves the rest to it.
func (o *startOptions) config(cmd *cobra.Command) (cluster.Config, error) {
	level := hclog.LevelFromString(o.logLevel)
	switch {
	case level == hclog.NoLevel:
		return cluster.Config{}, usageError{fmt.Errorf("--log-level is %q; there is trace, debug, info, warn, error and off", o.logLevel)}
	case o.loops < 0 || o.loops > maxLoops:
		return cluster.Config{}, usageError{fmt.Errorf("--loops is %d; give a number from 0 to %d", o.loops, maxLoops)}
	case len(o.join) > 0 && o.natsURL != "":
		return cluster.Config{}, usageError{fmt.Errorf("--join and --nats-url exclude each other: one is for nodes, one for a NATS server")}
	}
	cfg := cluster.Config{
		Name: o.name, Cluster: o.cluster, Join: o.join, URL: o.natsURL,
		Logger: newLog(cmd.ErrOrStderr(), level),
	}
	o.server.apply(&cfg)
	if err := o.login.apply(&cfg); err != nil {
		return cluster.Config{}, err
	}
	if cfg.Name == "" && !namedByKeys(cfg.Keys) {
		cfg.Name = machine()
	}
	joins := len(o.join) > 0 || o.natsURL != ""
	switch {
	case !joins && o.listen != "none":
		cfg.Listen = o.listen
	case joins && cmd.Flags().Changed("listen"):
		return cluster.Config{}, usageError{fmt.Errorf("--listen is for a node that starts a cluster; this one joins another")}
	}
	return cfg, nil
}

// machine is the host's name as far as a node can have it.
func machine() string {
	host, _ := os.Hostname() // none: the cluster makes up a name
	host, _, _ = strings.Cut(host, ".")
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '_':
			return r
		}
		return '-'
	}, host)
}

// start runs the node until somebody asks it to end or it ends by itself: another node may
// have taken its name. Only then does it have a Reason, and the exit code is of that.
func start(cmd *cobra.Command, o startOptions) error {
	cfg, err := o.config(cmd)
	if err != nil {
		return err
	}
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	r, err := startNode(ctx, nodeSpec{cfg, o.loops, o.chat, o.socket})
	if err != nil {
		return err
	}
	announce(out, r, o.server.folder != "")
	select {
	case <-ctx.Done():
		fmt.Fprintln(out, "shutting down; press Ctrl-C again to exit immediately")
	case <-r.node.Done(): // by itself
	}
	return errors.Join(r.node.Reason(), stopAll([]*runningNode{r}))
}

// announce says what there is to do with a node.
func announce(out io.Writer, r *runningNode, closed bool) {
	fmt.Fprintf(out, "%s is up, incarnation %016x, loops %s\n", r.node.Name(), r.node.Incarnation(), strings.Join(r.node.Loops(), " "))
	if r.room != nil {
		fmt.Fprintf(out, "  chat    %s\n", r.room.Address())
	}
	if _, at, ok := strings.Cut(r.node.URL(), "://"); ok {
		who := "--name NAME"
		if closed {
			who = "--keys FOLDER"
		}
		fmt.Fprintf(out, "  join    %s start %s --join %s\n", calledAs(os.Args[0]), who, at)
	}
	fmt.Fprintf(out, "  socket  %s\n", r.admin.Path())
	fmt.Fprintln(out, "Ctrl-C leaves.")
}
