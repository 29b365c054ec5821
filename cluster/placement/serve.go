package placement

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/groups"
	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
	"github.com/loopmesh/loopmesh/cluster/names"
	"github.com/loopmesh/loopmesh/internal/guard"
	"github.com/loopmesh/loopmesh/loopnode"
)

// Kind is what instances are made of.
type Kind struct {
	Name string
	// Run is an instance: it runs as a task of the loop given to Serve, for as long as ctx is
	// not over. nil: it has finished. Its ctx ends when this node does not own the instance any
	// more; o has the fencing token for what Run writes.
	Run func(ctx context.Context, name string, o *names.Ownership) error
}

// Server is a node's offer to run instances of some kinds on one loop. Any goroutine; Stop
// not from that loop.
type Server struct {
	node   *cluster.Node
	loop   loopnode.Ref
	local  *loopnode.Loop
	kinds  map[string]Kind
	member *groups.Membership
	boss   *names.Placed // the supervisor, or a stand-by

	mu      sync.Mutex
	stopped bool
	placed  map[id]*instance
}

// instance is one that this node was told to start. Its fields are guarded by Server.mu.
type instance struct {
	standing
	placed   *names.Placed
	stopping bool
}

// hostsGroup is the group of the loops that serve (package groups): where the supervisor
// finds whom to ask.
const hostsGroup = "placement"

// servers are the Servers of a node, by loop.
type servers struct {
	mu sync.Mutex
	by map[*loopnode.Loop]*Server
}

type serversKey struct{}

func serversOf(n *cluster.Node) *servers {
	return inside.Shared(n.Inside(inside.Key{}), serversKey{}, func() *servers { return &servers{by: map[*loopnode.Loop]*Server{}} })
}

// Serve offers to run instances of kinds on a loop of this node, until Stop, or the end of the
// loop or the node. A loop serves once, with all its kinds; a node may serve on several loops. It
// does not wait. Errors: ErrBadName, cluster.ErrConfig, cluster.ErrClosed.
func Serve(n *cluster.Node, loop loopnode.Ref, kinds ...Kind) (*Server, error) {
	if n == nil || len(kinds) == 0 {
		return nil, fault.Config("placement: Serve needs a node and at least one kind")
	}
	local, ok := loop.Local()
	if !ok {
		return nil, fault.Config("placement: the loop %s is not of this process: a node serves on its own loops", loop)
	}
	s := &Server{node: n, loop: loop, local: local, kinds: map[string]Kind{}, placed: map[id]*instance{}}
	for _, k := range kinds {
		if err := (id{k.Name, "x"}).check(); err != nil {
			return nil, err
		}
		if k.Run == nil || s.kinds[k.Name].Run != nil {
			return nil, fault.Config("placement: the kind %s is given twice, or has no Run", k.Name)
		}
		s.kinds[k.Name] = k
	}
	all := serversOf(n)
	all.mu.Lock()
	if all.by[local] != nil {
		all.mu.Unlock()
		return nil, fault.Config("placement: the loop %s serves already: give all kinds in one Serve, or take another loop", loop)
	}
	all.by[local] = s
	all.mu.Unlock()
	if err := s.begin(); err != nil {
		s.Stop()
		return nil, err
	}
	local.OnClose(s.forget)
	return s, nil
}

// begin makes the server known, and lets its node become the supervisor.
func (s *Server) begin() (err error) {
	if s.member, err = groups.Join(s.node, hostsGroup, s.loop); err != nil {
		return err
	}
	s.boss, err = names.Place(s.node, hostsGroup, s.loop, func(ctx context.Context, o *names.Ownership) error { return supervise(ctx, s.node, o) })
	return err
}

// Stop ends the instances that run here and waits until they have; others take them over.
// Stopping twice is harmless.
func (s *Server) Stop() {
	if s.member != nil {
		s.member.Leave()
	}
	if s.boss != nil {
		s.boss.Stop()
	}
	s.forget()
	s.mu.Lock()
	s.stopped = true
	all := make([]*instance, 0, len(s.placed))
	for i, have := range s.placed {
		all = append(all, have)
		delete(s.placed, i)
	}
	s.mu.Unlock()
	var ends sync.WaitGroup
	for _, have := range all {
		// goroutine: owner: Stop, which waits for it; ends when the instance has
		ends.Go(have.placed.Stop)
	}
	ends.Wait()
}

// forget takes the server out of the table of its node.
func (s *Server) forget() {
	all := serversOf(s.node)
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.by[s.local] == s {
		delete(all.by, s.local)
	}
}

// An instance is a singleton of package names, which waits for its name, runs while this
// node owns it, and stands for it again when it was lost. What is different: names.Place
// tries again here, with a pause, whatever happens; here a run that ended by itself is over,
// and the supervisor decides what comes next. So the function that names.Place gets returns nil
// then, which ends it, and the end is kept in the table until the supervisor has read it.

// The questions of the supervisor are functions like those of users: they run as a task of
// the loop that serves, with the rights that calls need.
var (
	startFunc = cluster.Func("placement.start", func(ctx context.Context, i id) (struct{}, error) {
		s, err := serverOf(ctx)
		if err == nil {
			err = s.start(i)
		}
		return struct{}{}, err
	})
	stopFunc = cluster.Func("placement.stop", func(ctx context.Context, i id) (struct{}, error) {
		s, err := serverOf(ctx)
		if err == nil {
			s.stop(i)
		}
		return struct{}{}, err
	})
	listFunc = cluster.Func("placement.list", func(ctx context.Context, _ struct{}) (report, error) {
		s, err := serverOf(ctx)
		if err != nil {
			return report{}, err
		}
		return s.report(), nil
	})
)

// report is what a server tells about itself.
type report struct {
	Kinds []string
	Has   []told
}

// told is an instance of a report.
type told struct {
	ID id
	standing
}

var errNotServing = errors.New("this loop does not serve any kind")

// serverOf is the Server of the loop that ctx belongs to.
func serverOf(ctx context.Context) (*Server, error) {
	loop, err := loopnode.Running(ctx)
	if err != nil {
		return nil, err
	}
	if n, ok := cluster.NodeOf(ctx); ok {
		all := serversOf(n)
		all.mu.Lock()
		defer all.mu.Unlock()
		if s := all.by[loop]; s != nil {
			return s, nil
		}
	}
	return nil, errNotServing
}

// start has an instance stand for its name. Starting one that stands is harmless: the
// supervisor may not have had the answer.
func (s *Server) start(i id) error {
	kind, ok := s.kinds[i.Kind]
	if !ok {
		return fmt.Errorf("%w: no kind %.80q here", ErrNotWanted, i.Kind)
	}
	if err := i.check(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.placed[i] != nil || s.stopped {
		return nil
	}
	have := &instance{}
	var err error
	have.placed, err = names.Place(s.node, i.String(), s.loop, func(ctx context.Context, o *names.Ownership) error {
		if s.over(have) { // it called runtime.Goexit, which names.Place takes for a failure
			return nil
		}
		s.note(have, standing{Owns: true, Token: o.Token()})
		defer func() { s.note(have, standing{}) }()
		return s.run(ctx, have, kind, i.Name, o)
	})
	if err == nil {
		s.placed[i] = have
	}
	return err
}

// run calls Run and keeps how it ended. Its error is for the supervisor, which decides where
// the next try is; names.Place, which would try again here, is told that it has finished,
// unless the ownership was lost: then it stands for the name again.
func (s *Server) run(ctx context.Context, have *instance, kind Kind, name string, o *names.Ownership) error {
	var err error
	if p := guard.CallWhole(func() { err = kind.Run(ctx, name, o) }, func() {
		s.note(have, standing{Ended: true, Error: "it called runtime.Goexit", Token: o.Token()})
	}); p != nil {
		s.node.Inside(inside.Key{}).Log.Error("an instance panicked", "kind", kind.Name, "name", name, "panic", p.Error(), "stack", string(p.Stack))
		err = fmt.Errorf("%w: %s", cluster.ErrPanic, fault.PanicText(p.Value))
	}
	if o.Err() != nil || ctx.Err() != nil {
		return err
	}
	end := standing{Ended: true, Token: o.Token()}
	if err != nil {
		end.Error = cut(fault.Readable(err).Error(), maxError)
		if end.Error == "" {
			end.Error = "an error without a text" // "" would be: it has finished
		}
	}
	s.note(have, end)
	return nil
}

// note keeps how an instance is. One that has ended stays so until the supervisor has it
// forgotten.
func (s *Server) note(have *instance, now standing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !have.Ended {
		have.standing = now
	}
}

// over reports whether the run of an instance has ended by itself: what comes next is up to the
// supervisor.
func (s *Server) over(have *instance) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return have.Ended
}

// stop has an instance end, and forgets it when it has. It does not wait for that: one that
// ignores the end of its ctx would keep the supervisor from all others. Until it has
// ended it is told of, and so it is not started elsewhere for nothing.
func (s *Server) stop(i id) {
	s.mu.Lock()
	defer s.mu.Unlock()
	have := s.placed[i]
	if have == nil || have.stopping {
		return
	}
	have.stopping = true
	// goroutine: owner: Server; ends when the instance has, for which Stop waits
	go func() {
		have.placed.Stop()
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.placed[i] == have {
			delete(s.placed, i)
		}
	}()
}

// errorsOfAll is what the errors of a report take together, in bytes: a report is the result of
// a call, which has a limit (Config.MaxPayload), and one that did not fit would hide
// everything that this server has.
const errorsOfAll = 128 << 10

// report is what this server has.
func (s *Server) report() report {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := report{}
	for k := range s.kinds {
		r.Kinds = append(r.Kinds, k)
	}
	slices.Sort(r.Kinds)
	most := min(maxError, errorsOfAll/max(len(s.placed), 1)+1)
	for i, have := range s.placed {
		st := have.standing
		st.Error = cut(st.Error, most)
		r.Has = append(r.Has, told{i, st})
	}
	return r
}
