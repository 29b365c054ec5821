package actors_test

import (
	"context"
	"fmt"
	"time"

	"github.com/loopmesh/loopmesh/actors"
)

// chanLoop is a small loop for the example; programs use loopnode.
type chanLoop chan func()

func (chanLoop) Name() string           { return "example" }
func (l chanLoop) Post(fn func()) error { l <- fn; return nil }
func (l chanLoop) Soon(fn func())       { l <- fn }
func (l chanLoop) After(d time.Duration, fn func()) func() {
	t := time.AfterFunc(d, func() { l <- fn })
	return func() { t.Stop() }
}

type counter struct{ n int }

func (c *counter) Receive(ctx *actors.Context) {
	switch m := ctx.Message().(type) {
	case int:
		c.n += m
	case string:
		_ = ctx.Reply(c.n)
	}
}

func ExampleSystem_Spawn() {
	loop := make(chanLoop, 64)
	// goroutine: owner: the example; ends when loop is closed.
	go func() {
		for fn := range loop {
			fn()
		}
	}()
	system := actors.New(actors.Options{})
	ref, err := system.Spawn(loop, "counter", func() actors.Actor { return &counter{} })
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = system.Send(ref, 40)
	_ = system.Send(ref, 2)
	sum, err := system.Ask(context.Background(), ref, "sum")
	fmt.Println(ref, sum, err)
	fmt.Println(system.Shutdown(context.Background()))
	close(loop)
	// Output:
	// /counter 42 <nil>
	// <nil>
}
