package loopnode

import "io"

// Life is one loop of a Supervisor. Its methods are for Setup and what it starts.
type Life struct {
	s    *Supervisor
	loop *Loop
	n    int
	why  error
}

// Loop is the loop of this life.
func (l *Life) Loop() *Loop { return l.loop }

// Number counts from 1.
func (l *Life) Number() int { return l.n }

// Why is how the life before this one ended; nil for the first.
func (l *Life) Why() error { return l.why }

// Keep gives every life of a supervised loop the same value: open makes it in the
// first one, later ones find it under its key. It is closed when the supervision
// ends, the last one first. It is meant for listening sockets: keep the socket,
// and give each life a duplicate of it, so that clients are queued by the kernel
// while the loop is made anew. Loop goroutine. Errors: open's, and
// ErrInvalidArgument when the key holds another type.
func Keep[T io.Closer](l *Life, key string, open func() (T, error)) (T, error) {
	l.s.mu.Lock()
	old := l.s.kept[key]
	l.s.mu.Unlock()
	if old != nil {
		if v, ok := old.(T); ok {
			return v, nil
		}
		var none T
		return none, invalid("what is kept as %q is a %T", key, old)
	}
	v, err := open()
	if err != nil {
		return v, err
	}
	l.s.mu.Lock()
	l.s.kept[key] = v
	l.s.order = append(l.s.order, key)
	l.s.mu.Unlock()
	return v, nil
}

func (s *Supervisor) closeKept() {
	s.mu.Lock()
	order, kept := s.order, s.kept
	s.order, s.kept = nil, nil
	s.mu.Unlock()
	for i := len(order) - 1; i >= 0; i-- {
		_ = kept[order[i]].Close()
	}
}
