package loopnode

import (
	"context"
	"errors"
	"testing"
)

// stubPolicy is a user's policy: it counts, and its getter panics.
type stubPolicy struct {
	*DefaultPolicy
	made int
}

func (p *stubPolicy) EventLoop() (*Loop, error) { panic("the policy was asked") }

func (p *stubPolicy) NewLoop(name string) (*Loop, error) {
	p.made++
	return p.DefaultPolicy.NewLoop(name)
}

// withPolicy makes p the policy of the process until the test ends.
func withPolicy(t *testing.T, p Policy) {
	t.Helper()
	SetEventLoopPolicy(p)
	t.Cleanup(func() { SetEventLoopPolicy(nil) })
}

func quietPolicy() *DefaultPolicy {
	return &DefaultPolicy{Config: Config{Logger: testLogger(&logBuffer{})}}
}

func TestPolicy(t *testing.T) {
	t.Run("GET-02 the running loop is found without asking the policy, whose getter panics", func(t *testing.T) {
		withPolicy(t, &stubPolicy{DefaultPolicy: quietPolicy()})
		inTask(t, func(ctx context.Context, l *Loop) error {
			if got, err := EventLoop(ctx); got != l || err != nil {
				t.Errorf("in a task: %v, %v", got, err)
			}
			done := NewFuture[*Loop](l)
			l.CallSoonContext(ctx, func(ctx context.Context) {
				got, _ := EventLoop(ctx)
				_ = done.SetResult(got)
			})
			if got, err := done.Await(ctx); got != l || err != nil {
				t.Errorf("in a callback: %v, %v", got, err)
			}
			return nil
		})
		defer func() {
			if recover() == nil {
				t.Error("with nothing running the policy was not asked")
			}
		}()
		_, _ = EventLoop(context.Background())
	})
	t.Run("GET-03 with nothing running the policy answers, and never with a new loop", func(t *testing.T) {
		withPolicy(t, quietPolicy())
		if l, err := EventLoop(context.Background()); l != nil || !errors.Is(err, ErrNoCurrentLoop) {
			t.Fatalf("before anything was set: %v, %v", l, err)
		}
		l, _ := newLoop(t)
		SetEventLoop(l)
		if got, err := EventLoop(context.Background()); got != l || err != nil {
			t.Fatalf("after SetEventLoop: %v, %v", got, err)
		}
		if got, err := EventLoop(l.Context(context.Background())); got != l || err != nil { // of l, which does not run
			t.Fatalf("with the ctx of a loop that does not run: %v, %v", got, err)
		}
		SetEventLoop(nil)
		if got, err := EventLoop(context.Background()); got != nil || !errors.Is(err, ErrNoCurrentLoop) {
			t.Fatalf("after SetEventLoop(nil): %v, %v", got, err)
		}
		elsewhere := make(chan error)
		go func() {
			_, err := EventLoop(context.Background())
			elsewhere <- err
		}()
		if err := <-elsewhere; !errors.Is(err, ErrNoCurrentLoop) {
			t.Fatalf("on another goroutine: %v", err)
		}
	})
	t.Run("GET-04 nil unsets, the last set wins, and a new policy has its own", func(t *testing.T) {
		p, q := quietPolicy(), quietPolicy()
		withPolicy(t, p)
		a, _ := newLoop(t)
		b, _ := newLoop(t)
		SetEventLoop(a)
		SetEventLoop(b)
		if got, _ := EventLoop(context.Background()); got != b {
			t.Fatalf("got %v, want the one set last", got)
		}
		SetEventLoopPolicy(q)
		if _, err := EventLoop(context.Background()); !errors.Is(err, ErrNoCurrentLoop) {
			t.Fatal("the current loop leaked into another policy:", err)
		}
		SetEventLoopPolicy(p)
		if got, _ := EventLoop(context.Background()); got != b {
			t.Fatalf("back under the first policy: %v", got)
		}
	})
	t.Run("POL-01 one policy per process, the same each time, made at the first use", func(t *testing.T) {
		withPolicy(t, nil)
		first := EventLoopPolicy()
		if _, ok := first.(*DefaultPolicy); !ok || EventLoopPolicy() != first {
			t.Fatalf("%T, and then %v", first, EventLoopPolicy())
		}
		mine := &stubPolicy{DefaultPolicy: quietPolicy()}
		SetEventLoopPolicy(mine)
		if EventLoopPolicy() != Policy(mine) {
			t.Fatal("the policy that was set is not the policy")
		}
		SetEventLoopPolicy(nil)
		if _, ok := EventLoopPolicy().(*DefaultPolicy); !ok {
			t.Fatalf("nil restored %T", EventLoopPolicy())
		}
	})
	t.Run("POL-02 a policy has the three methods of asyncio's and one for failures", func(t *testing.T) {
		mine := &stubPolicy{DefaultPolicy: quietPolicy()}
		withPolicy(t, mine)
		l, err := NewEventLoop()
		must(t, err)
		defer l.Close()
		other, err := NewEventLoop()
		must(t, err)
		defer other.Close()
		if mine.made != 2 || l == other {
			t.Fatalf("made %d loops: %v, %v", mine.made, l, other)
		}
		if _, err := mine.DefaultPolicy.EventLoop(); !errors.Is(err, ErrNoCurrentLoop) {
			t.Fatal("making a loop made it current:", err)
		}
		SetEventLoop(l)
		if got, err := mine.DefaultPolicy.EventLoop(); got != l || err != nil {
			t.Fatal(got, err)
		}
		named, err := mine.NewLoop("gateway")
		must(t, err)
		defer named.Close()
		if named.Name() != "gateway" {
			t.Fatal(named.Name())
		}
	})
	t.Run("POL-03 a loop factory replaces the policy, which nobody asks", func(t *testing.T) {
		mine := &stubPolicy{DefaultPolicy: quietPolicy()}
		withPolicy(t, mine)
		main := func(ctx context.Context) error { _, err := EventLoop(ctx); return err }
		must(t, Run(context.Background(), main, WithLoopFactory(func() (*Loop, error) { return New(mine.Config) })))
		if mine.made != 0 {
			t.Fatal("the policy made a loop in spite of the factory")
		}
		must(t, Run(context.Background(), main))
		if mine.made != 1 {
			t.Fatal("without a factory the policy makes the loop")
		}
	})
}
