package loopnode

import (
	"context"
	"time"

	"github.com/loopmesh/loopmesh/internal/loopaccess"
)

// Internal is for the other packages of this module: nobody else can make the
// key. See package internal/loopaccess.
func (l *Loop) Internal(loopaccess.Key) loopaccess.Loop { return (*access)(l) }

// access is a Loop with the methods of loopaccess.Loop. Why a type of its own:
// they would be public methods of Loop otherwise. The conversion costs nothing.
type access Loop

func (a *access) Resolver() any { return a.resolver }

func (a *access) TeardownAndClose() error { return (*Loop)(a).teardown() }

func (a *access) Supervise(s loopaccess.Supervisor) { a.supervisor, a.beat.supervisor = s, s }

// taskAccess is a task with the methods of loopaccess.Task.
type taskAccess task

func (a *taskAccess) Loop() any { return a.loop }

func (a *taskAccess) Owned() error { return (*task)(a).owned() }

func (a *taskAccess) Context() context.Context { return &a.ctx }

func (a *taskAccess) EndsCancelled(err error) bool { return (*task)(a).endsCancelled(err) }

func (a *taskAccess) SlowLookup() (limit time.Duration, timed bool) {
	return a.loop.slowAt, a.loop.tracing.Load()
}
