package nodecmd

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/admin"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
)

// The command start: one node as a process. Its flags become a cluster.Config; what a
// field means and which fields go together is checked by cluster.Start, so that a
// program of one's own gets the same errors. Checked here is only what the library
// cannot see: the flags that are not in Config, and which of two flags was given by
// hand.

const (
	maxLoops     = 256
	defaultLoops = 8 // at most
)

// startOptions are the flags of start. They are its whole configuration: a variable and
// a line of the configuration file set a flag of the same name.
type startOptions struct {
	file                                             string
	name, cluster, natsURL, listen, socket, logLevel string
	join                                             []string
	moduleLevels                                     []string // MODULE=LEVEL
	services                                         []string // their addresses, as in program
	profiles                                         []string // files
	adminListen, adminToken                          string   // the second is the file
	handover                                         string   // path, as in nodeSpec
	drain                                            time.Duration
	loops                                            int
	server                                           serverOptions
	login                                            loginOptions
	program                                          *program
	log                                              *admin.Log             // made by config
	modules                                          map[string]hclog.Level // of moduleLevels; made by config
}

func newStartOptions(p *program) *startOptions {
	return &startOptions{services: make([]string, len(p.services)), program: p}
}

// newStart takes the whole configuration from its flags, from the variables of their
// names (environment.go) or from a file (configfile.go).
func newStart(p *program) *cobra.Command {
	o := newStartOptions(p)
	cmd := &cobra.Command{
		Use: "start", Short: "run one node until it is interrupted", Args: noArgs,
		Long: startLong,
		Example: "  loopmesh start --name n1 --listen 127.0.0.1:4222\n" +
			"  loopmesh start --name n2 --join 127.0.0.1:4222\n\n" +
			"  loopmesh start --keys ./n1 --voter --routes 10.0.0.1:6222,10.0.0.2:6222,10.0.0.3:6222 --listen 10.0.0.1:4222 --store ./n1-data\n" +
			"  loopmesh start --keys ./n4 --join 10.0.0.1:4222,10.0.0.2:4222,10.0.0.3:4222",
		RunE: func(cmd *cobra.Command, _ []string) error {
			lines, err := applyFile(cmd, o.file)
			if err == nil {
				err = o.check(cmd)
			}
			if err != nil {
				return located(err, cmd, o.file, lines)
			}
			return start(cmd, p, o, settings(cmd, p.byVariable, lines, o.file))
		},
	}
	o.flags(cmd, p)
	return cmd
}

// flags are those of start, for it and for the commands about its configuration.
func (o *startOptions) flags(cmd *cobra.Command, p *program) {
	f := cmd.Flags()
	f.StringVarP(&o.file, configFlag, "c", "", "YAML file with values for these flags, by their names; \"config init\" prints one")
	f.StringVar(&o.name, "name", "", "name of the node, unique in the cluster (default: the machine's, or the one in --keys)")
	f.StringVar(&o.cluster, "cluster", "", "name of the cluster: nodes of other clusters on the same NATS do not meet (default \"loopmesh\", or the one in --keys)")
	f.StringSliceVar(&o.join, "join", nil, "host:port of the servers of other nodes; give all voters, so that one may be lost")
	f.StringVar(&o.natsURL, "nats-url", "", "URL of an external NATS, as nats://host:4222; several of one NATS cluster with commas between them")
	o.server.flags(cmd)
	o.login.flags(cmd)
	f.StringVar(&o.listen, "listen", "127.0.0.1:0", "host:port at which other nodes join this one; port 0 takes a free one, \"none\" lets nobody join")
	f.IntVar(&o.loops, "loops", min(runtime.GOMAXPROCS(0), defaultLoops), "number of loops; they are named io-0, io-1 and so on")
	for i, s := range p.services {
		f.StringVar(&o.services[i], s.Name, "", "host:port, or fd://NAME for a socket of the service manager, at which to "+s.About+" (default: nowhere)")
	}
	f.StringVar(&o.handover, "handover", "", "path of a socket: take the listening sockets of the services from the process that serves there, which then drains, and give them to a newer process (default: neither)")
	f.StringVarP(&o.socket, "socket", "s", "", "path of the admin socket (default: where the other commands look for it)")
	f.StringVar(&o.adminListen, "admin-listen", "", "host:port of the dashboard and the admin API over TCP, with /metrics, /livez and /readyz (default: the socket only)")
	f.StringVar(&o.adminToken, "admin-token-file", "", "file with the token of --admin-listen: needed beyond this machine, and for what changes something")
	f.StringArrayVar(&o.profiles, "profile", nil, "YAML file of commands that other nodes may start here, with the right spawn:NAME; once for each file (default: none)")
	f.DurationVar(&o.drain, "drain", stopLimit, "at Ctrl-C or SIGTERM let what runs end for so long (a second signal ends the process at once)")
	f.StringVar(&o.logLevel, "log-level", "warn", "what is logged to stderr: trace, debug, info, warn, error or off")
	f.StringSliceVar(&o.moduleLevels, "log-module", nil, "a level for one module, as nats=debug; once for each module, or with commas ('loopmesh log levels' lists the modules)")
}

// levels reads the levels of all modules and of some.
func (o *startOptions) levels() (hclog.Level, map[string]hclog.Level, error) {
	of := func(flag, text string) (hclog.Level, error) {
		level := hclog.LevelFromString(text)
		if level == hclog.NoLevel {
			return level, usageError{fmt.Errorf("--%s is %q; there is trace, debug, info, warn, error and off", flag, text)}
		}
		return level, nil
	}
	level, err := of("log-level", o.logLevel)
	modules := map[string]hclog.Level{}
	for _, text := range o.moduleLevels {
		module, word, ok := strings.Cut(text, "=")
		if !ok || module == "" {
			return level, nil, usageError{fmt.Errorf("--log-module is %q; write MODULE=LEVEL, as nats=debug", text)}
		}
		own, wrong := of("log-module", word)
		modules[module], err = own, errors.Join(err, wrong)
	}
	return level, modules, err
}

// makeLog makes the log with its levels.
func (o *startOptions) makeLog(errs io.Writer) error {
	level, modules, err := o.levels()
	if err != nil {
		return err
	}
	o.log, o.modules = newLog(errs, level), modules
	for module, level := range modules {
		if err := o.log.Set(module, level); err != nil {
			return usageError{fmt.Errorf("--log-module: %w", err)}
		}
	}
	return nil
}

// config makes the node's configuration. The node listens on loopback for others by
// default, but only when it has a server of its own: with --join or --nats-url the
// default is dropped, and a --listen that was given by hand is an error, since the
// user expects it to take effect.
func (o *startOptions) config(cmd *cobra.Command) (cluster.Config, error) {
	switch {
	case o.loops < 0 || o.loops > maxLoops:
		return cluster.Config{}, usageError{fmt.Errorf("--loops is %d; give a number from 0 to %d", o.loops, maxLoops)}
	case o.drain < 0 || o.drain > maxDrain:
		return cluster.Config{}, usageError{fmt.Errorf("--drain is %v; give 0s to %v", o.drain, maxDrain)}
	case len(o.join) > 0 && o.natsURL != "":
		return cluster.Config{}, usageError{fmt.Errorf("--join and --nats-url exclude each other: --join is for the servers of other nodes, --nats-url for an external NATS")}
	}
	if err := o.checkHandover(); err != nil {
		return cluster.Config{}, err
	}
	if err := o.makeLog(cmd.ErrOrStderr()); err != nil {
		return cluster.Config{}, err
	}
	cfg := cluster.Config{Name: o.name, Cluster: o.cluster, Join: o.join, URL: o.natsURL, Logger: o.log.Logger()}
	o.server.apply(&cfg)
	if err := o.login.apply(&cfg); err != nil {
		return cluster.Config{}, err
	}
	if cfg.Name == "" && !namedByKeys(cfg.Keys) {
		cfg.Name = o.ownName()
	}
	joins := o.joins()
	switch {
	case !joins && o.listen != "none":
		cfg.Listen = o.listen
	case joins && cmd.Flags().Changed("listen"):
		return cluster.Config{}, usageError{fmt.Errorf("--listen is for a node with a server of its own; --join and --nats-url use a server elsewhere: leave --listen out")}
	}
	return cfg, nil
}

// check is what start refuses before it opens anything.
func (o *startOptions) check(cmd *cobra.Command) error {
	cfg, err := o.config(cmd)
	if err != nil {
		return err
	}
	token, err := readToken(o.adminToken)
	if err == nil && o.adminListen != "" {
		err = admin.CheckTCP(o.adminListen, token)
	}
	return errors.Join(cfg.Check(), err)
}

// hostName is the machine's name up to the first dot, with - for every letter that a
// node's name cannot have. "" when the machine has none: then the cluster makes a
// name up.
func hostName() string {
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

// start runs the node until ctx ends (Ctrl-C, SIGTERM) or the node ends by itself,
// because a newer node has taken its name. Only in the second case does Reason give
// an error, and the exit code is that error's.
func start(cmd *cobra.Command, p *program, o *startOptions, set []admin.Setting) error {
	reload := newReloader(cmd, p, o, set) // before the files are read
	cfg, err := o.config(cmd)
	if err != nil {
		return err
	}
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	token, err := readToken(o.adminToken)
	if err != nil {
		return err
	}
	profiles, err := readProfiles(o.profiles)
	if err != nil {
		return err
	}
	r, err := startNode(ctx, nodeSpec{cfg, p, o.loops, o.services, profiles, o.socket, o.adminListen, token, o.log, set, o.handover, reload})
	if err != nil {
		return o.explainName(err)
	}
	printStarted(out, p, r, o.server.folder != "")
	manager := tellManager(r.node, o.log.Logger().Named("manager"))
	defer manager.end()
	switch reload.until(ctx, out, cmd.ErrOrStderr()) {
	case byItself: // or drained
		manager.stopping(stopLimit)
		return errors.Join(r.node.Reason(), stopAll([]*runningNode{r}))
	case bySuccessor:
		fmt.Fprintln(out, "a newer process serves now; this one drains")
	default:
		fmt.Fprintln(out, "shutting down; press Ctrl-C again to exit immediately")
	}
	limit := time.Duration(reload.drain.Load())
	manager.stopping(limit)
	return errors.Join(r.drain(limit, out), r.node.Reason())
}

// printStarted prints where the node can be reached and the command that joins it, in
// words to be copied. closed: the cluster takes nodes with keys only, so that a
// joining node needs --keys and not --name. A node that does not listen for others
// prints no such line.
func printStarted(out io.Writer, p *program, r *runningNode, closed bool) {
	fmt.Fprintf(out, "%s is up, incarnation %d, loops %s\n", r.node.Name(), r.node.Incarnation(), strings.Join(r.node.Loops(), " "))
	for i, s := range p.services {
		if at := r.services[i]; at != nil {
			fmt.Fprintf(out, "  %-7s %s\n", s.Name, at)
		}
	}
	if at := r.node.Inside(inside.Key{}).JoinAddresses(); len(at) > 0 {
		who := "--name NAME"
		if closed {
			who = "--keys FOLDER"
		}
		fmt.Fprintf(out, "  join    %s start %s --join %s\n", calledAs(os.Args[0], p.name), who, strings.Join(at, ","))
	}
	fmt.Fprintf(out, "  socket  %s\n", r.admin.Path())
	if r.adminAt != nil {
		fmt.Fprintf(out, "  admin   http://%s   (the dashboard; a link that may change things: dashboard)\n", r.adminAt)
	}
	fmt.Fprintln(out, "Ctrl-C shuts it down.")
}

// readToken reads the token of the admin API. A file that others can read is refused:
// whoever has the token can stop what runs on every node.
func readToken(path string) (string, error) { return readTokenOf("--admin-token-file", path) }

// readTokenOf is readToken for another flag.
func readTokenOf(flag, path string) (string, error) {
	if path == "" {
		return "", nil
	}
	info, err := os.Stat(path)
	if err == nil && info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		err = fmt.Errorf("%s can be read by other users; run chmod 600 on it", path)
	}
	var raw []byte
	if err == nil {
		raw, err = os.ReadFile(path)
	}
	if err != nil {
		return "", usageError{fmt.Errorf("%s: %w", flag, err)}
	}
	if token := strings.TrimSpace(string(raw)); token != "" {
		return token, nil
	}
	return "", usageError{fmt.Errorf("%s: %s is empty: it holds the token, at least 16 bytes, such as 'openssl rand -hex 16' prints", flag, path)}
}
