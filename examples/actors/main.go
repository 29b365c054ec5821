// Command actors keeps a counter in an actor on one node, and uses it from
// another: it sends to it, asks it, watches it and stops it.
//
//	go run ./examples/actors serve                    # node n1, prints where to join
//	go run ./examples/actors use 127.0.0.1:41234      # node n2
//
// The actor lives on a loop of n1 and is called only there, so its number needs
// no lock. n2 knows its address, n1/counter, and nothing else.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster"
)

// Add makes the counter larger by N.
type Add struct{ N int64 }

// Get asks for the Total.
type Get struct{}

// Total is the answer to Get.
type Total struct{ N int64 }

// Both programs know the messages by these names.
var (
	_ = cluster.RegisterMessage[Add]("counter.add")
	_ = cluster.RegisterMessage[Get]("counter.get")
	_ = cluster.RegisterMessage[Total]("counter.total")
)

// errNegative is an error that keeps its identity between the nodes.
var errNegative = cluster.RegisterError("counter.negative", errors.New("the counter does not go down"))

// counter is the actor. Owned by its loop.
type counter struct{ n int64 }

// Receive takes one message. An Add may be sent or asked; only who asks is told of
// a refusal.
func (c *counter) Receive(ctx *actors.Context) {
	var err error
	switch m := ctx.Message().(type) {
	case Add:
		if m.N < 0 {
			err = ctx.ReplyError(errNegative)
			break
		}
		c.n += m.N
		if ctx.Asked() {
			err = ctx.Reply(Total{c.n})
		}
	case Get:
		err = ctx.Reply(Total{c.n})
	}
	if err != nil && !errors.Is(err, actors.ErrNoSender) {
		ctx.Logger().Warn("the asker is not told", "error", err)
	}
}

// mailbox is how many messages may wait for the counter; more are refused.
const mailbox = 10_000

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	switch {
	case len(os.Args) == 2 && os.Args[1] == "serve":
		err = serve(ctx, os.Stdout)
	case len(os.Args) == 3 && os.Args[1] == "use":
		err = use(ctx, os.Args[2], os.Stdout)
	default:
		fmt.Fprintln(os.Stderr, "usage: actors serve | actors use HOST:PORT")
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "actors:", err)
		os.Exit(1)
	}
}

func start(ctx context.Context, name, join string) (*cluster.Node, error) {
	cfg := cluster.Config{Name: name, Logger: hclog.New(&hclog.LoggerOptions{Name: name, Level: hclog.Warn})}
	if join == "" {
		cfg.Listen = "127.0.0.1:0"
	} else {
		cfg.Join = []string{join}
	}
	return cluster.Start(ctx, cfg)
}

// serve is node n1: it runs the counter until the counter is stopped or ctx ends.
func serve(ctx context.Context, out io.Writer) error {
	node, err := start(ctx, "n1", "")
	if err != nil {
		return err
	}
	defer node.Close()
	ref, err := node.NewLoop("main")
	if err != nil {
		return err
	}
	loop, _ := ref.Local()
	// Transient: a panic costs the number that it held, not the counter. Stop from
	// elsewhere ends it all the same.
	count, err := node.Actors().Spawn(loop, "counter", func() actors.Actor { return &counter{} },
		actors.WithLifetime(actors.Transient), actors.WithMailboxLimit(mailbox))
	if err != nil {
		return err
	}
	ended := make(chan actors.Terminated, 1)
	node.Actors().Watch(count, func(t actors.Terminated) { ended <- t })
	fmt.Fprintln(out, "join:", node.URL())
	select {
	case t := <-ended:
		fmt.Fprintln(out, "the counter ended:", t.Reason)
	case <-ctx.Done():
	}
	return nil
}

// use is node n2: it does with the counter of n1 what one can do with an actor.
func use(ctx context.Context, join string, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	node, err := start(ctx, "n2", join)
	if err != nil {
		return err
	}
	defer node.Close()
	if err := node.WaitMembers(ctx, 2); err != nil {
		return err
	}
	sys, count := node.Actors(), actors.RefOf(actors.Address{Node: "n1", Path: "counter"})

	// Watch first: whatever ends the counter from here on is told once, also the
	// death of its node.
	ended := make(chan actors.Terminated, 1)
	sys.Watch(count, func(t actors.Terminated) { ended <- t })

	// Send does not wait and is at most once. Messages from here to there keep
	// their order, so the Get below comes after them.
	for n := range int64(10) {
		if err := sys.Send(count, Add{n}); err != nil {
			return fmt.Errorf("adding %d: %w", n, err)
		}
	}
	// Ask waits for exactly one of answer, refusal, end of the actor or its node, and
	// the end of ctx.
	answer, err := sys.Ask(ctx, count, Get{})
	if err != nil {
		return fmt.Errorf("asking for the total: %w", err)
	}
	fmt.Fprintln(out, "total:", answer.(Total).N)
	if _, err := sys.Ask(ctx, count, Add{-1}); !errors.Is(err, errNegative) {
		return fmt.Errorf("a negative number was not refused: %w", err)
	}
	fmt.Fprintln(out, "refused: a negative number")

	sys.Stop(count)
	select {
	case t := <-ended:
		fmt.Fprintln(out, t.Who, "ended:", t.Reason)
	case <-ctx.Done():
		return fmt.Errorf("waiting for the end of the counter: %w", context.Cause(ctx))
	}
	if _, err := sys.Ask(ctx, count, Get{}); !errors.Is(err, actors.ErrUnknown) {
		return fmt.Errorf("the counter has answered after its end: %w", err)
	}
	fmt.Fprintln(out, "gone")
	return nil
}
