package transportactors

import "github.com/loopmesh/loopmesh/loopnode"

// Transports are the connections that live on l and have not ended, in no order:
// for those who show what a program holds. Loop goroutine of l.
func Transports(l *loopnode.Loop) []Transport {
	list := living[Transport](l)
	for i, t := range list {
		if c, ok := t.(*conn); ok {
			list[i] = c.face()
		}
	}
	return list
}

// Servers are the servers on l that have not ended, in no order. Loop goroutine of l.
func Servers(l *loopnode.Loop) []*Server {
	return living[*Server](l)
}

// living are the members of one kind of l's hub.
func living[T any](l *loopnode.Loop) []T {
	h := hubOf(l)
	if h == nil {
		return nil
	}
	var out []T
	for m := range h.members {
		if t, ok := m.(T); ok {
			out = append(out, t)
		}
	}
	return out
}
