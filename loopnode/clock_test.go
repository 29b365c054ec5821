package loopnode

import (
	"context"
	"testing"
	"time"
)

// jumpClock is a kernel with a virtual clock: it stands while callbacks run, jumps
// to the next deadline when the loop would sleep, and the test moves it on. (Package
// looptest has the like for everybody, but imports this package.)
type jumpClock struct {
	Backend
	now Instant
}

func (c *jumpClock) Now() Instant { return c.now }

// spend is a callback that takes d.
func (c *jumpClock) spend(d time.Duration) { c.now = c.now.Add(d) }

func (c *jumpClock) Wait(timeout time.Duration, each func(any, Events)) (int, error) {
	if timeout > 0 {
		c.now = c.now.Add(timeout)
		timeout = 0
	}
	return c.Backend.Wait(timeout, each)
}

// inVirtualTask is inTask on a loop with a virtual clock.
func inVirtualTask(t *testing.T, fn func(ctx context.Context, l *Loop, c *jumpClock) error) {
	t.Helper()
	kernel, err := newKernel()
	must(t, err)
	clock := &jumpClock{Backend: kernel}
	l, _ := newLoop(t, func(c *Config) { c.Backend = clock })
	_, err = RunUntilComplete(l, CreateTask(l.Context(context.Background()), "test", func(ctx context.Context) (int, error) {
		return 0, fn(ctx, l, clock)
	}))
	must(t, err)
}
