package nodecmd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
	"github.com/loopmesh/loopmesh/transportactors/handover"
)

// An upgrade in place: start --handover PATH takes the listening sockets of the services from
// the process that serves at the path, and offers its own there (package handover).
//
//	the process before            this one
//	serves                        start: joins the cluster under a name of its own
//	gives copies      ─────────▶  Inherit
//	serves                        its services begin to accept on the copies
//	serves                        the node is a member
//	lets go           ◀─────────  Serving
//	drains, ends                  Open: the next process may ask
//
// Why does the one before let go behind the last step that can fail? Whatever ends this process
// before leaves the other one as it was. Both are nodes of the cluster for a moment, so each has a
// name of its own, and neither may carry the NATS server of the others: it would take it along.
//
// A service gets its socket as its address, "fd://:N" (handover.At), and knows of nothing else.
// Which server is whose is found by the address that the service has returned.

// takeover is the hand-over of one node. Owned by startNode; its task by the loop "handover".
type takeover struct {
	path  string
	names []string                                // of the services
	at    []string                                // what each service is to listen at, as in nodeSpec
	found map[string]*transportactors.Server      // by service
	up    chan map[string]*transportactors.Server // gets found when the node is a member
	task  *loopnode.SafeFuture[*handover.Offer]
	offer *handover.Offer // when serving has returned
}

// handoverLoop is the loop of a node that takes and offers the sockets.
const handoverLoop = "handover"

// takeOver takes the sockets that the process before gives, if there is one, and says where
// the services are to listen.
func takeOver(ctx context.Context, node *cluster.Node, s nodeSpec) (*takeover, error) {
	ref, err := node.NewLoop(handoverLoop)
	if err != nil {
		return nil, err
	}
	t := &takeover{path: s.handover, at: slices.Clone(s.services), up: make(chan map[string]*transportactors.Server, 1)}
	for _, service := range s.program.services {
		t.names = append(t.names, service.Name)
	}
	loop, _ := ref.Local()
	taken := make(chan struct{})
	t.task = loopnode.RunCoroutineThreadsafe(loop.Ref(), "hand over", func(ctx context.Context) (*handover.Offer, error) {
		return t.run(ctx, taken)
	})
	select {
	case <-taken:
		return t, nil
	case <-t.task.Done():
		_, err := t.task.Result()
		return nil, err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// run is the task: the sockets belong to the task that took them.
func (t *takeover) run(ctx context.Context, taken chan<- struct{}) (*handover.Offer, error) {
	in, err := handover.Inherit(ctx, t.path)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	for i, at := range t.at {
		if at != "" {
			t.at[i] = in.At(t.names[i], at)
		}
	}
	close(taken)
	servers, _, err := loopnode.Recv(ctx, t.up)
	if err != nil {
		return nil, err
	}
	if err := in.Serving(ctx); err != nil {
		return nil, err
	}
	return handover.Open(ctx, t.path, servers)
}

// find finds the server of each service among those of the node's loops. A service that
// cannot be handed over is an error at the first start, not at the first upgrade.
func (t *takeover) find(ctx context.Context, node *cluster.Node, at []net.Addr) error {
	all, err := servers(ctx, node)
	if err != nil {
		return err
	}
	found := map[string]*transportactors.Server{}
	for i, a := range at {
		if a == nil {
			continue
		}
		s, ok := all[a.String()]
		switch {
		case !ok:
			return fmt.Errorf("--handover: what listens at %v for %s is no stream server of a loop of the node (transportactors.CreateServer): it cannot be handed over", a, t.names[i])
		case s.addresses > 1:
			return usageError{fmt.Errorf("--handover: %s listens at %d addresses, of which one could be handed over: give it the address of one interface, such as 0.0.0.0:PORT", t.names[i], s.addresses)}
		}
		found[t.names[i]] = s.server
	}
	t.found = found
	return nil
}

// listening is a server, and at how many addresses it listens.
type listening struct {
	server    *transportactors.Server
	addresses int
}

// servers are those of a node's loops, by each of their addresses.
func servers(ctx context.Context, node *cluster.Node) (map[string]listening, error) {
	all := map[string]listening{}
	for _, name := range node.Loops() {
		ref, ok := node.Loop(name)
		loop, here := ref.Local()
		if !ok || !here {
			continue
		}
		looked := loopnode.RunCoroutineThreadsafe(loop.Ref(), "look for servers", func(context.Context) (map[string]listening, error) {
			out := map[string]listening{}
			for _, s := range transportactors.Servers(loop) {
				for _, a := range s.Addrs() {
					out[a.String()] = listening{s, len(s.Addrs())}
				}
			}
			return out, nil
		})
		found, err := looked.Wait(ctx)
		if err != nil {
			return nil, fmt.Errorf("loop %s was asked for its servers: %w", name, err)
		}
		maps.Copy(all, found)
	}
	return all, nil
}

// serving has the process before let go, and offers the sockets to the next one.
func (t *takeover) serving(ctx context.Context) (err error) {
	t.up <- t.found // it has room: it is sent once
	if t.offer, err = t.task.Wait(ctx); err != nil {
		return fmt.Errorf("--handover: %w", err)
	}
	return nil
}

// replaced is closed when a newer process serves; nil, for a node without a hand-over: never.
func (t *takeover) replaced() <-chan struct{} {
	if t == nil {
		return nil
	}
	return t.offer.Replaced()
}

// joins reports whether the NATS server of the node is another process's.
func (o *startOptions) joins() bool { return len(o.join) > 0 || o.natsURL != "" }

// checkHandover refuses what cannot be replaced in place.
func (o *startOptions) checkHandover() error {
	listens := slices.ContainsFunc(o.services, func(at string) bool { return at != "" })
	switch {
	case o.handover == "":
		return nil
	case !listens:
		return usageError{errors.New("--handover hands over the sockets of services, and no service listens: give one its address, or leave --handover out")}
	case o.server.storeDir != "" || o.server.voter:
		return usageError{errors.New("--handover is not for a node with --store or --voter: the next process would need the folder before this one lets go of it; let it --join such a node")}
	case !o.joins() && o.listen != "none":
		return usageError{errors.New("--handover: this node would take the NATS server of those that join it along when it is replaced: give it --join or --nats-url, or --listen none when nobody joins it")}
	}
	return nil
}

// ownName is the name of a node that was given none: the machine's. With a hand-over two
// processes of the machine are nodes for a moment, so the process's number is a part of it.
func (o *startOptions) ownName() string {
	if o.handover == "" {
		return hostName()
	}
	return fmt.Sprintf("%s-%d", hostName(), os.Getpid())
}

// explainName says what to do about a name that the process before still has.
func (o *startOptions) explainName(err error) error {
	if o.handover != "" && errors.Is(err, cluster.ErrNameTaken) {
		return fmt.Errorf("%w; with --handover both processes are nodes for a moment: give each a --name of its own (with --keys: keys of its own)", err)
	}
	return err
}
