package loopnode

import (
	"context"
	"fmt"
)

// PerLoop is a variable that has a value of its own on every loop: the state
// that the functions registered with package cluster, the protocols and the
// actors of one loop share without a lock. Make it a variable of a package. New is
// told the loop; whoever needs the value finds the loop in what it was given:
//
//	var rooms = &loopnode.PerLoop[*Rooms]{New: func(l *loopnode.Loop) *Rooms { return newRooms(l) }}
//
//	r, err := rooms.From(ctx)      // a task, a registered function
//	r, err := rooms.On(t.Loop())   // a protocol, from ConnectionMade on
//
// The loop holds the values: they go when nobody refers to the loop any more. Do
// not copy a PerLoop.
type PerLoop[T any] struct {
	// New makes the value of a loop at the first use there; nil gives the zero
	// value. To tidy up when the loop closes, it calls l.OnClose. Loop goroutine.
	New func(l *Loop) T
}

// From is the value of the loop that ctx belongs to: of a task, a registered
// function, or made by Loop.Context. Loop goroutine. Errors: ErrNoRunningLoop,
// ErrLoopClosed, ErrWrongGoroutine (debug mode).
func (p *PerLoop[T]) From(ctx context.Context) (v T, err error) {
	l := loopOf(ctx)
	if l == nil {
		return v, fmt.Errorf("%w: the ctx belongs to no loop; give a task's ctx or Loop.Context", ErrNoRunningLoop)
	}
	return p.On(l)
}

// On is the value of l. Loop goroutine. Errors: ErrLoopClosed,
// ErrInvalidArgument (nil), ErrWrongGoroutine (debug mode).
func (p *PerLoop[T]) On(l *Loop) (v T, err error) {
	if err := l.valuesUsable("PerLoop.On"); err != nil {
		return v, err
	}
	if old, is := l.values[p]; is {
		return old.(T), nil
	}
	if p.New != nil {
		v = p.New(l)
	}
	return v, p.Set(l, v)
}

// Set replaces the value of l. Loop goroutine. Errors as On.
func (p *PerLoop[T]) Set(l *Loop, v T) error {
	if err := l.valuesUsable("PerLoop.Set"); err != nil {
		return err
	}
	l.attach(p, v)
	return nil
}

// valuesUsable refuses a loop that keeps no values.
func (l *Loop) valuesUsable(what string) error {
	switch {
	case l == nil:
		return invalid("%s needs a loop, not nil", what)
	case l.closed.Load():
		return closedError(l)
	}
	return l.checkGoroutine(what)
}

// attach keeps value under key, in place of what was there; nil takes it away.
// Why not a table of the process: it would keep a dropped loop alive.
func (l *Loop) attach(key, value any) {
	switch {
	case value == nil:
		delete(l.values, key)
	case l.values == nil:
		l.values = map[any]any{key: value}
	default:
		l.values[key] = value
	}
}
