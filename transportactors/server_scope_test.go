package transportactors

import (
	"context"
	"errors"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
)

func TestServerScope(t *testing.T) {
	boom := errors.New("boom")
	t.Run("closes the server, waits for its connections and returns the error", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			s, err := serve(ctx, newProbe(ctx))
			if err != nil {
				return err
			}
			server := newProbe(ctx)
			s.factory = func() Protocol { return server }
			_, client, err := CreateConnection(ctx, func() *probe { return newProbe(ctx) }, "tcp", s.Addrs()[0].String())
			if err != nil {
				return err
			}
			scope := loopnode.CreateTask(ctx, "scope", func(ctx context.Context) (int, error) {
				return 0, s.Scope(ctx, func(context.Context) error {
					if !s.IsServing() {
						t.Error("closed too early")
					}
					return boom
				})
			})
			must(t, turns(ctx, 4))
			if scope.Done() || s.IsServing() || len(client.log) > 1 {
				t.Error("done", scope.Done(), "serving", s.IsServing(), client.log)
			}
			client.t.Close()
			if _, err := scope.Await(ctx); !errors.Is(err, boom) {
				t.Error(err)
			}
			return errors.Join(server.wait(ctx), client.wait(ctx))
		})
	})
	t.Run("a panic closes the server", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			s, err := serve(ctx, newProbe(ctx))
			if err != nil {
				return err
			}
			scope := loopnode.CreateTask(ctx, "scope", func(ctx context.Context) (int, error) {
				return 0, s.Scope(ctx, func(context.Context) error { panic(boom) })
			})
			_, err = scope.Await(ctx)
			if !errors.Is(err, boom) || s.IsServing() {
				t.Error(err, s.IsServing())
			}
			return nil
		})
	})
	t.Run("nil is refused", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			s, err := serve(ctx, newProbe(ctx))
			if err != nil {
				return err
			}
			var none context.Context
			for _, err := range []error{s.Scope(none, func(context.Context) error { return nil }), s.Scope(ctx, nil)} {
				if !errors.Is(err, loopnode.ErrInvalidArgument) {
					t.Error(err)
				}
			}
			s.Close()
			return nil
		})
	})
}
