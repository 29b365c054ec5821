package looptest_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/loopnode/looptest"
	"github.com/loopmesh/loopmesh/transportactors"
)

// idler is a protocol that closes a connection on which nothing came for 30 s.
// It asks its transport for the loop, so a test can give it a virtual one.
type idler struct {
	t     transportactors.Transport
	timer *loopnode.TimerHandle
}

func (p *idler) ConnectionMade(t transportactors.Transport) { p.t = t; p.again() }
func (p *idler) DataReceived([]byte)                        { p.timer.Cancel(); p.again() }
func (p *idler) ConnectionLost(error)                       { p.timer.Cancel() }
func (p *idler) again()                                     { p.timer = p.t.Loop().CallLater(30*time.Second, p.t.Close) }

// wire is a transport as far as the protocol under test needs one: what the test
// does not set panics with a nil dereference, and so shows itself.
type wire struct {
	transportactors.Transport
	loop *loopnode.Loop
}

func (w wire) Loop() *loopnode.Loop { return w.loop }
func (w wire) Close()               { fmt.Println("closed at", time.Duration(w.loop.Time())) }

// A user's protocol with a timer, tested in no time.
func ExampleNew() {
	loop, _, err := looptest.New(loopnode.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer loop.Close()
	p := &idler{}
	loop.CallSoon(func() { p.ConnectionMade(wire{loop: loop}) })
	loop.CallLater(20*time.Second, func() { p.DataReceived([]byte("ping")) })
	loop.CallLater(time.Hour, loop.Stop)
	fmt.Println(loop.RunForever(), "at", time.Duration(loop.Time()))
	// Output:
	// closed at 50s
	// <nil> at 1h0m0s
}

// Tasks sleep in virtual time, too.
func ExampleNew_task() {
	loop, world, err := looptest.New(loopnode.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer loop.Close()
	_, err = loopnode.RunUntilComplete(loop, loopnode.CreateTask(loop.Context(context.Background()), "", func(ctx context.Context) (int, error) {
		return 0, loopnode.Timeout(ctx, 24*time.Hour, func(ctx context.Context) error {
			return loopnode.Sleep(ctx, 48*time.Hour)
		})
	}))
	fmt.Println(errors.Is(err, loopnode.ErrTimeout), time.Duration(world.Now()))
	// Output: true 24h0m0s
}
