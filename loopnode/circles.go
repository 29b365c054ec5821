package loopnode

// circles finds the tasks that wait for themselves through others: the strongly
// connected parts of who waits for whom, by Tarjan's algorithm. Each task is visited
// once, whichever task was asked for first. Loop goroutine, and good for one look:
// nothing may run in between.
type circles struct {
	order map[*task]int // when a task was visited, from 1; settled once its part is known
	path  []*task       // visited, and not settled
	found map[*task]bool
	left  int // steps that may still be taken
	depth int
}

// What one look may cost the loop, which stands still meanwhile. A circle that is found
// in more steps, or that has more tasks, is not told.
const (
	circleSteps = 100_000
	circleDepth = 10_000
	settled     = -1
)

// through reports whether t is part of a circle.
func (c *circles) through(t *task) bool {
	if c.order == nil {
		c.order, c.found = map[*task]int{}, map[*task]bool{}
	}
	if c.order[t] == 0 {
		c.visit(t)
	}
	return c.found[t]
}

// visit returns the earliest task on the path that t can reach.
func (c *circles) visit(t *task) (low int) {
	at := len(c.path)
	me := len(c.order) + 1
	c.order[t], low = me, me
	c.path = append(c.path, t)
	c.depth++
	own := false // it waits for itself without others
	for _, by := range t.waiters() {
		if c.left--; c.left < 0 || c.depth > circleDepth {
			break
		}
		own = own || by == t
		switch n := c.order[by]; {
		case n == 0:
			low = min(low, c.visit(by))
		case n != settled:
			low = min(low, n)
		}
	}
	c.depth--
	if low == me {
		for _, member := range c.path[at:] {
			c.order[member] = settled
			c.found[member] = own || len(c.path)-at > 1
		}
		c.path = c.path[:at]
	}
	return low
}
