package nodecmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/admin"
	"github.com/loopmesh/loopmesh/cluster/process"
)

// What "a node of this program" is: a cluster.Node, loops io-0 and up, the services
// of the program, and the admin socket. start runs one of them, dev several.
//
// Two orders matter. Starting: loops, then what runs on them, then the admin socket,
// and all of it inside Config.Prepare, before another node hears of this one; so
// neither a call of another node nor a command meets a node that lacks a part.
// Stopping: the admin socket first, so that no command finds a node that is about to
// refuse it; then the node, which waits for its calls; nodes of one process in the
// reverse order of their start, because the first one has the server that the others
// are connected to.

// runningNode is a node with its services. Owned by the command that started it. The
// loops and the services need no closing: they end with the node.
type runningNode struct {
	node     *cluster.Node
	admin    *admin.Server
	services []net.Addr // as in program; nil: not started
	adminAt  net.Addr   // of the admin API over TCP; nil: none
	flush    func(context.Context) error
	handover *takeover // nil: nothing is handed over
}

// nodeSpec says what a node consists of. Zero values mean: no loops, no service, and the
// socket where the other commands look for it.
type nodeSpec struct {
	cfg      cluster.Config
	program  *program
	loops    int      // how many, named io-0 and up
	services []string // where the services of the program listen; "": nowhere
	profiles []process.Profile
	socket   string // path of the admin socket; "": where the other commands look for it
	admin    string // address of the admin API over TCP; "": none
	token    string // of that API
	log      *admin.Log
	settings []admin.Setting
	handover string    // path at which the services' sockets change processes; "": nowhere
	reload   *reloader // nil: the node has no configuration that could be read again
}

// startNode starts a node and its services, and waits until they serve. The services
// start before other nodes hear of the node: no call meets a node without its loops.
// When a service cannot start, nothing is left of the node.
func startNode(ctx context.Context, s nodeSpec) (*runningNode, error) {
	flush, err := s.program.trace(ctx, &s.cfg)
	if err != nil {
		return nil, err
	}
	r := &runningNode{flush: flush}
	s.cfg.Prepare = func(ctx context.Context, node *cluster.Node) error {
		r.node = node
		return r.startServices(ctx, s)
	}
	if _, err := cluster.Start(ctx, s.cfg); err != nil {
		if r.admin != nil {
			r.admin.Close()
		}
		return nil, errors.Join(err, flush(ctx))
	}
	if r.handover == nil {
		return r, nil
	}
	if err := r.handover.serving(ctx); err != nil {
		return nil, errors.Join(err, stopAll([]*runningNode{r}))
	}
	return r, nil
}

// The program's own part comes between the loops and the services: what WithPrepare makes
// may use the loops, and a service may use what it made. Each step that fails ends the
// start, and cluster.Start takes back what there is.
//
// startServices makes the loops first, then what runs on them, and the admin
// socket last: whoever can ask the node finds everything there.
func (r *runningNode) startServices(ctx context.Context, s nodeSpec) (err error) {
	for i := range s.loops {
		if _, err := r.node.NewLoop(fmt.Sprintf("io-%d", i)); err != nil {
			return err
		}
	}
	for _, prepare := range append(slices.Clone(s.program.prepare), offering(s.profiles)) {
		if err := prepare(ctx, r.node); err != nil {
			return fmt.Errorf("node %s: %w", r.node.Name(), err)
		}
	}
	if s.handover != "" {
		if r.handover, err = takeOver(ctx, r.node, s); err != nil {
			return err
		}
		s.services = r.handover.at
	}
	r.services = make([]net.Addr, len(s.services))
	for i, at := range s.services {
		if at == "" {
			continue
		}
		service := s.program.services[i]
		if r.services[i], err = service.Start(ctx, r.node, at); err != nil {
			return fmt.Errorf("%s of node %s: %w", service.Name, r.node.Name(), err)
		}
	}
	if r.handover != nil {
		if err := r.handover.find(ctx, r.node, r.services); err != nil {
			return err
		}
	}
	if r.admin, err = admin.Open(r.node, s.cfg.Logger.Named("admin")); err != nil {
		return err
	}
	r.admin.Keep(s.log, s.settings)
	if s.reload != nil {
		s.reload.node = r
		r.admin.OnReload(s.reload.again)
	}
	if s.admin != "" {
		if r.adminAt, err = r.admin.ListenTCP(s.admin, s.token); err != nil {
			return err
		}
	}
	if s.socket == "" {
		s.socket = admin.Path(r.node.Name())
	}
	return r.admin.Listen(s.socket)
}

// stop accepts no new calls, waits for those that run until ctx ends, and closes
// the node. The admin socket goes first, so that no command finds a node that
// is about to end.
func (r *runningNode) stop(ctx context.Context) error {
	if r.admin != nil {
		r.admin.Close()
	}
	err := r.node.Stop(ctx)
	return errors.Join(err, r.flush(ctx))
}

// stopLimit is how long running calls may take when the program stops, for all of its
// nodes together. Service managers kill a process that takes longer than they allow
// (by default 90 s with systemd, 30 s with Kubernetes), and then nobody is told
// goodbye.
const stopLimit = 10 * time.Second

// stopAll stops nodes in the reverse order of their start: the first one may
// run the NATS server that the others are connected to.
func stopAll(all []*runningNode) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	var failed []error
	for i := len(all) - 1; i >= 0; i-- {
		failed = append(failed, all[i].stop(ctx))
	}
	return errors.Join(failed...)
}

// newLog writes to stderr, without colour: stdout is for data, and hclog does
// not look at NO_COLOR or at whether stderr is a terminal. The admin API changes its
// levels and tells its last lines.
func newLog(errs io.Writer, level hclog.Level) *admin.Log {
	return admin.NewLog("loopmesh", errs, level)
}
