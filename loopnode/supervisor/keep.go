package supervisor

import (
	"fmt"
	"io"

	"github.com/loopmesh/loopmesh/loopnode"
)

// Life is one loop of a Supervisor. Its methods are for Setup and what it starts.
type Life struct {
	s      *Supervisor
	loop   *loopnode.Loop
	n      int
	reason error
}

// Loop is the loop of this life.
func (l *Life) Loop() *loopnode.Loop { return l.loop }

// Number counts from 1.
func (l *Life) Number() int { return l.n }

// Reason is why the life before this one ended; nil for the first.
func (l *Life) Reason() error { return l.reason }

// Keep gives every life of a supervised loop the same value: open makes it in the
// first one, later ones find it under its key. It is closed when the supervision
// ends, the last one first. It is meant for listening sockets: keep the socket,
// and give each life a duplicate of it, so that clients are queued by the kernel
// while the loop is made anew. Loop goroutine. Errors: open's, and
// loopnode.ErrInvalidArgument when the key holds another type, loopnode.ErrLoopClosed when the
// supervision has ended.
func Keep[T io.Closer](l *Life, key string, open func() (T, error)) (T, error) {
	l.s.mu.Lock()
	old := l.s.kept[key]
	l.s.mu.Unlock()
	if old != nil {
		return keptAs[T](key, old)
	}
	v, err := open()
	if err != nil {
		return v, err
	}
	old, err = l.s.keep(key, v)
	if old == nil && err == nil {
		return v, nil
	}
	_ = v.Close() // somebody else was faster, or everything is over
	if err != nil {
		var none T
		return none, err
	}
	return keptAs[T](key, old)
}

func keptAs[T io.Closer](key string, old io.Closer) (v T, err error) {
	v, ok := old.(T)
	if !ok {
		err = fmt.Errorf("%w: what is kept as %q is a %T", loopnode.ErrInvalidArgument, key, old)
	}
	return v, err
}

// keep takes v unless key holds something, which it returns.
func (s *Supervisor) keep(key string, v io.Closer) (old io.Closer, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.kept == nil:
		return nil, fmt.Errorf("%w: the supervision of %s has ended and keeps nothing more", loopnode.ErrLoopClosed, s.name)
	case s.kept[key] != nil:
		return s.kept[key], nil
	}
	s.kept[key] = v
	s.order = append(s.order, key)
	return nil, nil
}

func (s *Supervisor) closeKept() {
	s.mu.Lock()
	order, kept := s.order, s.kept
	s.order, s.kept = nil, nil
	s.mu.Unlock()
	for i := len(order) - 1; i >= 0; i-- {
		var err error
		if thrown := apart(func() { err = kept[order[i]].Close() }); thrown != nil {
			err = thrown
		}
		if err != nil {
			s.log.Warn("closing what was kept failed", "loop", s.name, "key", order[i], "error", err)
		}
	}
}
