package actors

import (
	"cmp"
	"slices"
)

// Info is what can be seen of an actor from outside.
type Info struct {
	// Ref is the actor.
	Ref Ref
	// Loop is the name of its loop.
	Loop string
	// Queued is how many messages wait. Those of senders on its own loop are
	// counted exactly with a limit, otherwise down to a multiple of 64.
	Queued int
	// Limit is the mailbox's limit; 0: none.
	Limit int
	// Asks is how many Asks the actor has received and not answered.
	Asks int
	// RestartDue: it has failed and waits for its restart.
	RestartDue bool
}

// Actors lists the living actors by path, children too. It asks no loop, so it
// answers while one stands still. Any goroutine.
func (s *System) Actors() []Info {
	s.mu.Lock()
	cells := make([]*cell, 0, len(s.cells))
	for _, c := range s.cells {
		if c != nil {
			cells = append(cells, c)
		}
	}
	s.mu.Unlock()
	slices.SortFunc(cells, func(a, b *cell) int { return cmp.Compare(a.path, b.path) })
	list := make([]Info, len(cells))
	for i, c := range cells {
		list[i] = c.info()
	}
	return list
}

func (c *cell) info() Info {
	c.takenMu.Lock()
	asks := len(c.taken.list)
	c.takenMu.Unlock()
	return Info{
		Ref: c.ref(), Loop: c.host.loop.Name(), Limit: c.limit, Asks: asks,
		Queued: c.foreignLen() + int(c.localShown.Load()), RestartDue: c.restartShown.Load(),
	}
}
