package actors_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/loopmesh/loopmesh/actors"
)

// chanLoop is a small loop for the examples; programs use loopnode.
type chanLoop chan func()

func (chanLoop) Name() string             { return "example" }
func (l chanLoop) ActorHost() actors.Host { return l }
func (l chanLoop) Post(fn func()) error   { l <- fn; return nil }
func (l chanLoop) Soon(fn func())         { l <- fn }
func (l chanLoop) After(d time.Duration, fn func()) func() {
	t := time.AfterFunc(d, func() { l <- fn })
	return func() { t.Stop() }
}

// start makes a system and a loop that runs; end ends both.
func start() (system *actors.System, loop chanLoop, end func()) {
	loop = make(chanLoop, 64)
	done := make(chan struct{})
	// goroutine: owner: the example; ends when loop is closed.
	go func() {
		defer close(done)
		for fn := range loop {
			fn()
		}
	}()
	system, err := actors.New(actors.Options{})
	if err != nil {
		panic(err)
	}
	return system, loop, func() {
		if err := system.Shutdown(context.Background()); err != nil {
			fmt.Println(err)
		}
		close(loop)
		<-done
	}
}

type counter struct{ n int }

func (c *counter) Receive(ctx *actors.Context) {
	switch m := ctx.Message().(type) {
	case int:
		c.n += m
	case string:
		if err := ctx.Reply(c.n); err != nil {
			ctx.Logger().Warn("the asker is gone", "error", err)
		}
	}
}

func ExampleSystem_Spawn() {
	system, loop, end := start()
	defer end()
	ref, err := system.Spawn(loop, "counter", func() actors.Actor { return &counter{} })
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, n := range []int{40, 2} {
		if err := system.Send(ref, n); err != nil {
			fmt.Println(err)
		}
	}
	sum, err := system.Ask(context.Background(), ref, "sum")
	fmt.Println(ref, sum, err)
	// Output:
	// /counter 42 <nil>
}

func ExampleSystem_Watch() {
	system, loop, end := start()
	defer end()
	ref, err := system.Spawn(loop, "worker", func() actors.Actor {
		return actors.Func(func(ctx *actors.Context) {
			if ctx.Message() == "work" {
				ctx.Exit(errors.New("out of paper"))
			}
		})
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	told := make(chan actors.Terminated, 1)
	system.Watch(ref, func(t actors.Terminated) { told <- t })
	if err := system.Send(ref, "work"); err != nil {
		fmt.Println(err)
	}
	t := <-told
	fmt.Println(t.Who, "ended:", t.Reason)
	// Output:
	// /worker ended: out of paper
}

func ExampleWithStrategy() {
	system, loop, end := start()
	defer end()
	lives := 0
	ref, err := system.Spawn(loop, "brittle", func() actors.Actor {
		lives++ // the factory runs on the loop, once for each life
		life := lives
		return actors.Func(func(ctx *actors.Context) {
			switch ctx.Message() {
			case "break":
				panic("broken")
			case "life":
				_ = ctx.Reply(life)
			}
		})
	}, actors.WithStrategy(actors.Strategy{Restart: actors.Transient, Intensity: 3, Period: time.Minute}))
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := system.Send(ref, "break"); err != nil {
		fmt.Println(err)
	}
	life, err := system.Ask(context.Background(), ref, "life")
	fmt.Println("life", life, err)
	// Output:
	// life 2 <nil>
}

func ExampleWithMailboxLimit() {
	system, loop, end := start()
	defer end()
	hold, held := make(chan struct{}), make(chan struct{})
	ref, err := system.Spawn(loop, "slow", func() actors.Actor {
		return actors.Func(func(ctx *actors.Context) {
			if ctx.Message() == "hold" {
				close(held)
				<-hold // an actor must not block its loop; this one shows what happens then
			}
		})
	}, actors.WithMailboxLimit(2))
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = system.Send(ref, "hold")
	<-held
	for i := range 3 {
		err := system.Send(ref, i)
		fmt.Println(i, err)
	}
	fmt.Println("queued:", system.Actors()[0].Queued)
	close(hold)
	// Output:
	// 0 <nil>
	// 1 <nil>
	// 2 the mailbox is full: 2 messages wait: /slow
	// queued: 2
}

func ExampleContext_Ask() {
	system, loop, end := start()
	defer end()
	sum, err := system.Spawn(loop, "sum", func() actors.Actor { return &counter{n: 7} })
	if err != nil {
		fmt.Println(err)
		return
	}
	answers := make(chan any, 1)
	_, err = system.Spawn(loop, "asker", func() actors.Actor {
		return actors.Func(func(ctx *actors.Context) {
			if _, ok := ctx.Message().(actors.Started); ok {
				ctx.Ask(sum, "sum", time.Second, func(answer any, err error) { answers <- answer })
			}
		})
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(<-answers)
	// Output:
	// 7
}
