package supervisor

import (
	"context"
	"errors"
	"io"
	"runtime"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/loopnode"
)

// leaving is a policy with functions of its own.
type leaving struct {
	*loopnode.DefaultPolicy
	newLoop, onFailure func()
}

func (p *leaving) NewLoop(name string) (*loopnode.Loop, error) {
	p.newLoop()
	return p.DefaultPolicy.NewLoop(name)
}

func (p *leaving) OnFailure(loopnode.Failure) loopnode.Directive {
	p.onFailure()
	return actors.Undecided
}

type onceClosed func() error

func (f onceClosed) Close() error { return f() }

// TestGoexitInAFunctionOfTheUsers: whichever function calls runtime.Goexit, the
// supervision goes on or ends as after a panic there, and every loop is closed.
func TestGoexitInAFunctionOfTheUsers(t *testing.T) {
	for where, lives := range map[string]int{"NewLoop": 1, "OnFailure": 1, "Decide": 1, "OnDecided": 2, "OnEscalate": 1, "ExceptionHandler": 2, "Close of what is kept": 2} {
		t.Run(where, func(t *testing.T) {
			var loops []*loopnode.Loop
			leave := func(here string) {
				if here == where {
					runtime.Goexit()
				}
			}
			policy := &leaving{
				DefaultPolicy: &loopnode.DefaultPolicy{Config: loopnode.Config{
					Logger:           hclog.NewNullLogger(),
					ExceptionHandler: func(*loopnode.Loop, loopnode.ExceptionContext) { leave("ExceptionHandler") },
				}},
				newLoop: func() {
					if len(loops) > 0 {
						leave("NewLoop")
					}
				},
				onFailure: func() { leave("OnFailure") },
			}
			closed := 0
			s, err := Start(Config{
				Policy: policy,
				Strategy: actors.Strategy{Restart: actors.Transient, Decide: func(loopnode.Failure) loopnode.Directive {
					if leave("Decide"); where == "OnEscalate" {
						return actors.Escalate
					}
					return actors.Undecided
				}},
				OnDecided:  func(loopnode.Failure) { leave("OnDecided") },
				OnEscalate: func(loopnode.Failure) { leave("OnEscalate") },
				Setup: func(ctx context.Context, life *Life) error {
					loops = append(loops, life.Loop())
					for _, key := range []string{"a", "b"} {
						if _, err := Keep(life, key, func() (io.Closer, error) {
							return onceClosed(func() error { closed++; leave("Close of what is kept"); return nil }), nil
						}); err != nil {
							return err
						}
					}
					loopnode.Go(ctx, "waits", func(ctx context.Context) error { return loopnode.WaitDone(ctx) })
					if life.Number() == 2 {
						life.Loop().Stop()
						return nil
					}
					return errors.New("the first life fails")
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			comes(t, s.Done())
			if s.Lives() != lives || lives == 1 && s.Err() == nil {
				t.Errorf("%d lives, %v", s.Lives(), s.Err())
			}
			if wrong := where == "OnFailure" || where == "Decide"; wrong && !errors.Is(s.Err(), actors.ErrGoexit) {
				t.Errorf("ended with %v", s.Err())
			}
			for i, l := range loops {
				if !l.IsClosed() {
					t.Errorf("loop %d is open", i)
				}
			}
			if closed != 2 {
				t.Errorf("%d of 2 that were kept are closed", closed)
			}
		})
	}
}
