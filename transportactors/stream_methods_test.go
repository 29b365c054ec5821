package transportactors_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

// TestAStreamIsNoProtocol: the calls of a protocol are for the transport. A Stream
// has none of them, so that its reader cannot take them for something to call.
func TestAStreamIsNoProtocol(t *testing.T) {
	stream := reflect.TypeFor[*transportactors.Stream]()
	for _, p := range []reflect.Type{reflect.TypeFor[transportactors.Protocol](), reflect.TypeFor[transportactors.EOFReceiver](), reflect.TypeFor[transportactors.WritePauser]()} {
		for i := range p.NumMethod() {
			if _, has := stream.MethodByName(p.Method(i).Name); has {
				t.Errorf("Stream has %s of %v", p.Method(i).Name, p)
			}
		}
	}
}

// TestTheStreamOfAnotherTask: tasks of one loop share a goroutine, so the error does
// not speak of a wrong one, and it says what to use.
func TestTheStreamOfAnotherTask(t *testing.T) {
	err := loopnode.Run(t.Context(), func(ctx context.Context) error {
		loop, err := loopnode.Running(ctx)
		if err != nil {
			return err
		}
		streams := loopnode.NewFuture[*transportactors.Stream](loop)
		server, err := transportactors.StartServer(ctx, func(ctx context.Context, s *transportactors.Stream) error {
			_ = streams.SetResult(s)
			return loopnode.WaitDone(ctx)
		}, "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		return server.Scope(ctx, func(ctx context.Context) error {
			defer server.AbortClients()
			client, err := transportactors.OpenConnection(ctx, "tcp", server.Addrs()[0].String())
			if err != nil {
				return err
			}
			defer client.Close()
			s, err := streams.Await(ctx)
			if err != nil {
				return err
			}
			_, err = s.Write([]byte("x"))
			if !errors.Is(err, loopnode.ErrWrongGoroutine) || strings.Contains(err.Error(), "thread") || !strings.Contains(err.Error(), "s.With(ctx)") {
				t.Errorf("the error is %v", err)
			}
			_, err = s.With(ctx).Write([]byte("x"))
			return err
		})
	})
	if err != nil {
		t.Error(err)
	}
}
