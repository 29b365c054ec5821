// Package base is what every kind of transport is built on: the guarded calls
// of its protocol (calls.go), the set of things that end with their loop
// (members.go), the ctx it was made with (creation.go), and the messages its actor
// understands (actor.go). transportactors and the packages below it use it.
package base

import (
	"context"
	"fmt"

	"github.com/loopmesh/loopmesh/internal/coro"
	"github.com/loopmesh/loopmesh/internal/loopaccess"
	"github.com/loopmesh/loopmesh/loopnode"
)

// Home is the loop of ctx. loopnode.ErrNoRunningLoop when ctx has none,
// loopnode.ErrWrongGoroutine when the caller does not run on it.
func Home(ctx context.Context) (*loopnode.Loop, error) {
	l, err := loopnode.Running(ctx)
	switch {
	case err != nil:
		return nil, err
	case !coro.Marked():
		return nil, fmt.Errorf("%w: create connections and servers in a task of loop %s", loopnode.ErrWrongGoroutine, l.Name())
	}
	return l, nil
}

// RequireContext refuses a nil ctx of a call that waits. Without it the call would
// do its work first and fail at the wait, or not fail when there is nothing to
// wait for.
func RequireContext(ctx context.Context, method string) error {
	if ctx == nil {
		return fmt.Errorf("%w: %s needs a ctx, not nil: pass that of the task that calls", loopnode.ErrInvalidArgument, method)
	}
	return nil
}

// CheckGoroutine refuses, in debug mode only, a call of method from another
// goroutine than l's; instead says what that goroutine may call.
func CheckGoroutine(l *loopnode.Loop, method, instead string) error {
	if !l.Debug() {
		return nil
	}
	return loopaccess.Of(l).CheckGoroutine(method + "; use " + instead)
}
