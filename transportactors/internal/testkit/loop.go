// Package testkit is what the tests of transportactors and of the packages
// below it share: a loop for one test, waiting without sleeping, a main that
// finds what a test leaves behind, and programs to be started as children.
package testkit

import (
	"context"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/loopnode"
)

// Patience is how long a test may take.
const Patience = time.Minute

// Must ends the test when there is an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// InLoop runs fn as a task of a fresh loop. told is what the loop's exception
// handler was told.
func InLoop(t testing.TB, fn func(ctx context.Context, told *[]loopnode.ExceptionContext) error) {
	t.Helper()
	var told []loopnode.ExceptionContext
	pool := loopnode.NewPool(4)
	l, err := loopnode.New(loopnode.Config{
		Logger:           hclog.NewNullLogger(),
		Executor:         pool,
		ExceptionHandler: func(_ *loopnode.Loop, ec loopnode.ExceptionContext) { told = append(told, ec) },
	})
	Must(t, err)
	defer func() { Must(t, l.Close()) }()
	ctx, stop := context.WithTimeout(context.Background(), Patience)
	defer stop()
	_, err = loopnode.RunUntilComplete(l, loopnode.CreateTask(l.Context(ctx), "test", func(ctx context.Context) (int, error) {
		return 0, fn(ctx, &told)
	}))
	Must(t, err)
	Must(t, pool.Shutdown(ctx))
}

// Aside runs fn on the executor and waits for it.
func Aside[T any](ctx context.Context, fn func() (T, error)) (T, error) {
	return loopnode.RunInExecutor(ctx, nil, fn).Await(ctx)
}

// Turns lets n turns pass.
func Turns(ctx context.Context, n int) error {
	for range n {
		if err := loopnode.Sleep(ctx, 0); err != nil {
			return err
		}
	}
	return nil
}

// Until lets turns pass until cond holds.
func Until(ctx context.Context, cond func() bool) error {
	for !cond() {
		if err := Turns(ctx, 1); err != nil {
			return err
		}
	}
	return nil
}
