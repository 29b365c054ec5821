package nodecmd

import (
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/admin"
)

// maxDevNodes keeps a mistyped number from filling the machine: each node has three
// connections and its goroutines.
const maxDevNodes = 32

// devOptions are the flags of dev.
type devOptions struct {
	program     *program
	nodes, port int
	admin       string // address of the dashboard
	verbose     bool
}

// devAdmin is where the dashboard of dev is by default.
const devAdmin = "127.0.0.1:7070"

// newDev is the first command that a new user runs: a whole cluster without a second
// machine or a configuration. Its nodes are like any others, with an admin socket
// each, so that the other commands work on them; only the NATS server between them is
// special, as it listens nowhere (Config.Beside).
func newDev(p *program) *cobra.Command {
	o := devOptions{program: p}
	cmd := &cobra.Command{
		Use: "dev", Short: "run a whole cluster in one process, to try things with", Args: noArgs,
		Long: "Starts --nodes nodes in this process, each with its services on 127.0.0.1, prints what to try, and runs until Ctrl-C.\n" +
			"The nodes share one NATS server that listens nowhere: no other process can join them. The other commands work on them, and the\n" +
			"link that it prints opens the dashboard in a browser.",
		Example: "  loopmesh dev\n  loopmesh dev --nodes 5 -v",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.port == 0 && !cmd.Flags().Changed("admin-listen") {
				o.admin = "127.0.0.1:0"
			}
			return dev(cmd, o)
		},
	}
	cmd.Flags().IntVar(&o.nodes, "nodes", 3, "number of nodes, named n1, n2 and so on")
	cmd.Flags().IntVar(&o.port, "port", 7001, "port of the first service of the first node; each further node takes the next one; 0 takes free ones")
	cmd.Flags().StringVar(&o.admin, "admin-listen", devAdmin, "host:port of the dashboard and the admin API, of the first node; \"none\" for none")
	cmd.Flags().BoolVarP(&o.verbose, "verbose", "v", false, "log to stderr from debug on, not only warnings and errors")
	return cmd
}

// dev runs until its ctx ends, which is what the first Ctrl-C does. What it has started
// is stopped in every case, in the reverse order: node n1 holds the server of all.
// The first output comes before the cluster is whole, so that a start that hangs shows
// how far it came.
func dev(cmd *cobra.Command, o devOptions) (err error) {
	switch {
	case o.nodes < 1 || o.nodes > maxDevNodes:
		return usageError{fmt.Errorf("--nodes is %d; give a number from 1 to %d", o.nodes, maxDevNodes)}
	case o.port < 0 || o.port+o.nodes*max(1, len(o.program.services)) > 1<<16:
		return usageError{fmt.Errorf("--port is %d; give a port so that %d nodes end below 65536", o.port, o.nodes)}
	}
	level := hclog.Warn
	if o.verbose {
		level = hclog.Debug
	}
	log := newLog(cmd.ErrOrStderr(), level)
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	var all []*runningNode
	defer func() {
		if left := stopAll(all); err == nil {
			err = left
		}
	}()
	for i := range o.nodes {
		r, err := startNode(ctx, o.spec(i, all, log))
		if err != nil {
			return err
		}
		all = append(all, r)
		fmt.Fprintf(out, "%-4s incarnation %d", r.node.Name(), r.node.Incarnation())
		for i, s := range o.program.services {
			fmt.Fprintf(out, "  %s on %s", s.Name, r.services[i])
		}
		fmt.Fprintln(out)
	}
	for _, r := range all { // each learns of the others by itself
		if err := r.node.WaitMembers(ctx, o.nodes); err != nil {
			return err
		}
	}
	o.printTry(out, all)
	fmt.Fprintln(out, "Ctrl-C ends them.")
	<-ctx.Done()
	fmt.Fprintln(out, "shutting down; press Ctrl-C again to exit immediately")
	return nil
}

// The dashboard of dev listens on loopback only, unless a person says otherwise. Its token
// is random and nobody is told it: whoever looks without a link sees the cluster, as every
// user of this machine may over the port, and the link that is printed may also change it.
//
// printTry prints what a new user can type next, in words to be copied: how to use the
// services of the first node and of the last one, and how to look at the cluster.
func (o *devOptions) printTry(out io.Writer, all []*runningNode) {
	fmt.Fprintf(out, "\n%d nodes are up. Try, in other terminals:\n", len(all))
	for i, s := range o.program.services {
		for _, r := range []*runningNode{all[0], all[len(all)-1]} {
			host, port, err := net.SplitHostPort(r.services[i].String())
			if err == nil && s.Try != "" {
				fmt.Fprintf(out, "  %s\n", strings.NewReplacer("HOST", host, "PORT", port).Replace(s.Try))
			}
		}
	}
	if link := all[0].admin.Ticket(); link != "" {
		fmt.Fprintf(out, "  %s   (opens the dashboard, once; a new link: dashboard)\n", link)
	}
	self := calledAs(os.Args[0], o.program.name)
	fmt.Fprintf(out, "  %[1]s ls\n  %[1]s conn ls\n  %[1]s %[2]s\n", self, o.program.example)
}

// spec describes node i. The first one has the NATS server; the others use it through
// memory, and are stopped before it. Each service gets a port of its own, or the kernel
// chooses all of them.
func (o *devOptions) spec(i int, before []*runningNode, log *admin.Log) nodeSpec {
	name := fmt.Sprintf("n%d", i+1)
	cfg := cluster.Config{Name: name, Logger: log.Logger().Named(name)}
	if i > 0 {
		cfg.Beside = before[0].node
	}
	spec := nodeSpec{cfg: cfg, program: o.program, loops: 1, log: log}
	if i == 0 && o.admin != "none" {
		spec.admin, spec.token = o.admin, rand.Text() // nobody needs to know it: links with tickets are enough
	}
	for k := range o.program.services {
		port := 0
		if o.port > 0 {
			port = o.port + k*o.nodes + i
		}
		spec.services = append(spec.services, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	}
	return spec
}
