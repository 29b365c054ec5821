package actors

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	pa "github.com/asynkron/protoactor-go/actor"
)

type spawnOptions struct {
	strategy *Strategy
	children Strategy
	lifetime *Lifetime
}

// SpawnOption configures one actor.
type SpawnOption func(*spawnOptions)

// WithStrategy supervises this actor alone, with a budget of its own, instead of
// what its parent or the system has for it.
func WithStrategy(st Strategy) SpawnOption { return func(o *spawnOptions) { o.strategy = &st } }

// WithChildren is how this actor's children are supervised, together. Without
// it a child that fails stops.
func WithChildren(st Strategy) SpawnOption { return func(o *spawnOptions) { o.children = st } }

// WithLifetime overrides, for this actor, which ends are followed by a new life.
func WithLifetime(l Lifetime) SpawnOption { return func(o *spawnOptions) { o.lifetime = &l } }

// Spawn starts an actor on a loop, at the top. It does not wait: factory is
// called on the loop, for each life. An empty name is replaced by a fresh one; a
// name may have several segments. Errors: ErrNameTaken, ErrBadAddress (names
// that begin with $ are the system's), ErrShutdown, ErrLoopDied.
func (s *System) Spawn(on Loop, name string, factory func() Actor, opts ...SpawnOption) (Ref, error) {
	return s.spawn(on, nil, name, factory, opts)
}

func (s *System) spawn(on Loop, parent *cell, name string, factory func() Actor, opts []SpawnOption) (Ref, error) {
	if factory == nil || on == nil {
		return Ref{}, errors.New("Spawn needs a loop and a factory, one of them is nil")
	}
	if strings.HasPrefix(name, "$") {
		return Ref{}, fmt.Errorf("%w: %q: names that begin with $ are the system's", ErrBadAddress, name)
	}
	var o spawnOptions
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	c, err := s.reserve(on, parent, name, factory, o)
	if err != nil {
		return Ref{}, err
	}
	s.follow(c.host)
	if err := s.start(c, parent); err != nil {
		s.forget(c)
		return Ref{}, fmt.Errorf("%w: %s on %s: %w", ErrLoopDied, c.path, on.Name(), err)
	}
	return c.ref(), nil
}

// reserve takes the name. Why before protoactor: there the constructor would have
// run when the name turns out to be taken.
func (s *System) reserve(on Loop, parent *cell, name string, factory func() Actor, o spawnOptions) (*cell, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return nil, fmt.Errorf("%w: %q was not started", ErrShutdown, name)
	}
	s.seq++
	if name == "" {
		name = "$" + strconv.FormatUint(s.seq, 36)
	}
	if err := checkName(name); err != nil {
		return nil, err
	}
	path := name
	if parent != nil {
		path = parent.path + "/" + name
	}
	if _, taken := s.cells[path]; taken {
		return nil, fmt.Errorf("%w: %s", ErrNameTaken, path)
	}
	h := s.hosts[on]
	if h == nil {
		h = newHost(on)
		s.hosts[on] = h
	}
	if h.dead.Load() {
		return nil, fmt.Errorf("%w: %s on %s", ErrLoopDied, path, on.Name())
	}
	c := newCell(s, h, parent, path, factory, o)
	c.seq = s.seq
	h.cells[c] = struct{}{}
	s.cells[path] = nil
	s.live++
	return c, nil
}

// start has protoactor start the actor. The error is the loop's.
func (s *System) start(c, parent *cell) error {
	props := pa.PropsFromProducer(func() pa.Actor { return c }, pa.WithMailbox(func() pa.Mailbox { return c }))
	core := s.core()
	var pid *pa.PID
	var err error
	if parent == nil {
		props.Configure(pa.WithGuardian(s.top))
		pid, err = core.Root.SpawnNamed(props, "/"+c.path) // the slash keeps clear of protoactor's own names
	} else {
		pid, err = parent.pctx.SpawnNamed(props, c.path[len(parent.path)+1:])
	}
	if err != nil {
		return err
	}
	c.mu.Lock()
	err = c.startErr
	c.mu.Unlock()
	if err != nil {
		c.bury(ErrLoopDied) // others may have found it by name, asked and watched
		core.ProcessRegistry.Remove(pid)
		return err
	}
	if parent != nil {
		parent.children = append(parent.children, c)
	}
	return nil
}

// appear makes the actor findable by name, unless LoopClosed has ended it already.
func (s *System) appear(c *cell) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := c.host.cells[c]; ok {
		s.cells[c.path] = c
	}
}

// forget frees the name of an actor that ended.
func (s *System) forget(c *cell) {
	if unhook := s.drop(c); unhook != nil {
		unhook()
	}
}

// drop is forget but for the hook of a loop whose last actor this was.
func (s *System) drop(c *cell) (unhook func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := c.host.cells[c]; !ok {
		return nil
	}
	delete(c.host.cells, c)
	delete(s.cells, c.path)
	if len(c.host.cells) == 0 && s.hosts[c.host.loop] == c.host {
		delete(s.hosts, c.host.loop)
		unhook = c.host.unhook
	}
	s.live--
	s.signalDrained()
	return unhook
}
