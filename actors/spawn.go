package actors

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

type spawnOptions struct {
	strategy     *Strategy
	children     Strategy
	lifetime     *Lifetime
	mailboxLimit int
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

// WithMailboxLimit refuses messages with ErrMailboxFull while n wait for the actor,
// from whomever they come; an Ask gets that error as its answer. Calls of After
// and answers to the actor's own Asks are not counted, nor is the notice of an
// end. Zero or less means no limit, which is the default: only other nodes have
// one then (Options.RemoteLimit), and a long mailbox is logged.
func WithMailboxLimit(n int) SpawnOption { return func(o *spawnOptions) { o.mailboxLimit = max(n, 0) } }

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
	if err := s.start(c); err != nil {
		s.removeCell(c)
		return Ref{}, fmt.Errorf("%w: %s on %s: %w", ErrLoopDied, c.path, on.Name(), err)
	}
	return c.ref(), nil
}

// reserve takes the name: its value in cells is nil until publishName. It comes before
// protoactor's spawn, so that a name that is taken is refused before anything is
// started.
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
func (s *System) start(c *cell) error {
	pid, err := s.startCore(c)
	if err != nil {
		return err
	}
	c.mu.Lock()
	err = c.startErr
	c.mu.Unlock()
	if err != nil {
		c.terminate(ErrLoopDied) // others may have found it by name, asked and watched
		s.core().ProcessRegistry.Remove(pid)
		return err
	}
	if c.parent != nil {
		c.parent.children = append(c.parent.children, c)
	}
	return nil
}

// publishName makes the actor findable by name, unless loopClosed has ended it
// already.
//
// A Shutdown that began after reserve has not seen the actor, because it only
// finds published names. So the name is published and closing is read under one
// lock: either Shutdown finds the actor in cells, or the actor is asked to end
// here. A child needs no asking, its parent ends it.
func (s *System) publishName(c *cell) {
	s.mu.Lock()
	if !c.unnamed {
		s.cells[c.path] = c
	}
	closing := s.closing && c.parent == nil
	s.mu.Unlock()
	if closing {
		c.postSystem(&stopNote{ErrStopped})
	}
}

// releaseName frees the name of an actor that is ending. Shutdown and the loop
// still wait for its cell: removeCell.
func (s *System) releaseName(c *cell) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.releaseNameLocked(c)
}

func (s *System) releaseNameLocked(c *cell) {
	if !c.unnamed {
		c.unnamed = true
		delete(s.cells, c.path)
	}
}

// removeCell forgets an actor that ended. With the last actor of a loop it takes back
// OnClose, which follow has registered.
func (s *System) removeCell(c *cell) {
	if unhook := s.detachCell(c); unhook != nil {
		unhook()
	}
}

// detachCell is the part of removeCell that runs under mu. The caller calls unhook
// afterwards.
func (s *System) detachCell(c *cell) (unhook func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := c.host.cells[c]; !ok {
		return nil
	}
	delete(c.host.cells, c)
	s.releaseNameLocked(c)
	if len(c.host.cells) == 0 && s.hosts[c.host.loop] == c.host {
		delete(s.hosts, c.host.loop)
		unhook = c.host.unhook
	}
	s.live--
	s.signalDrained()
	return unhook
}
