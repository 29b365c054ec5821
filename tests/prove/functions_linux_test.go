package prove

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/durable"
	"github.com/loopmesh/loopmesh/tests/prove/history"
)

// written is the history of this process.
var written *history.Log

// monotonic is the clock of all histories: one for all processes of a machine.
func monotonic() int64 {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		panic(err)
	}
	return now.Nano()
}

// stepWall sets the wall clock of this process; nil where the program is built without the
// overlay (tests/prove/wallclock).
var stepWall = stepper()

// sinkName is the sink that all effects go to. Each of its keys is a list: what had its
// effect, in order.
const sinkName = "prove"

type numbered struct {
	Sender string
	To     string
	N      uint64
}

type listed struct {
	ID   string
	List string
}

// The functions that the load calls. Each writes down that it ran, before it does
// anything else.
var (
	echo = cluster.Func("prove.echo", func(_ context.Context, id string) (string, error) {
		written.Add(history.Event{Op: history.Call, Step: history.Ran, ID: id})
		return id, nil
	})
	note = cluster.Func("prove.note", func(_ context.Context, in numbered) (struct{}, error) {
		written.Add(history.Event{Op: history.Cast, Step: history.Ran, ID: in.Sender, To: in.To, N: in.N})
		return struct{}{}, nil
	})
	command = cluster.Func("prove.command", func(ctx context.Context, in listed) (struct{}, error) {
		written.Add(history.Event{Op: history.Command, Step: history.Ran, ID: in.ID})
		return struct{}{}, effect(ctx, history.Command, in)
	})
	timer = cluster.Func("prove.timer", func(ctx context.Context, in listed) (struct{}, error) {
		run, _ := durable.RunOf(ctx)
		written.Add(history.Event{Op: history.Timer, Step: history.Ran, ID: in.ID, Wall: time.Now().UnixNano(), N: run.Token})
		return struct{}{}, effect(ctx, history.Timer, in)
	})
	// stall holds its loop up, as a callback does that computes or blocks.
	stall = cluster.Func("prove.stall", func(_ context.Context, d time.Duration) (struct{}, error) {
		<-time.After(d)
		return struct{}{}, nil
	})
	// wallclock sets the wall clock of its process so far ahead of the machine's.
	wallclock = cluster.Func("prove.wallclock", func(_ context.Context, ahead time.Duration) (struct{}, error) {
		if stepWall == nil {
			return struct{}{}, errors.New("this program is built without the overlay")
		}
		stepWall(ahead)
		return struct{}{}, nil
	})
	members = cluster.Func("prove.members", func(ctx context.Context, _ struct{}) ([]string, error) {
		n, ok := cluster.NodeOf(ctx)
		if !ok {
			return nil, errors.New("no node")
		}
		return known(n), nil
	})
)

// server tells the address of the server that a node is a client of.
var server = cluster.Func("prove.server", func(ctx context.Context, _ struct{}) (string, error) {
	n, ok := cluster.NodeOf(ctx)
	if !ok {
		return "", errors.New("no node")
	}
	return n.URL(), nil
})

// known are the names that a node knows, in order.
func known(n *cluster.Node) []string {
	var list []string
	for _, m := range n.Members() {
		list = append(list, m.Name)
	}
	slices.Sort(list)
	return list
}

// effect puts an id behind those of a list of the sink.
func effect(ctx context.Context, op history.Op, in listed) (err error) {
	defer func() {
		if err != nil {
			written.Add(history.Event{Op: op, Step: history.Failed, ID: in.ID, Err: err.Error()})
		}
	}()
	run, ok := durable.RunOf(ctx)
	if !ok {
		return errors.New("no run")
	}
	n, _ := cluster.NodeOf(ctx)
	sink, err := durable.NewSink(n, sinkName)
	if err != nil {
		return err
	}
	return sink.Apply(ctx, run, appendTo(in.List, in.ID))
}

func appendTo(list, id string) func(tx *durable.Tx) error {
	return func(tx *durable.Tx) error {
		have, err := tx.Get(list)
		if err != nil {
			return err
		}
		return tx.Put(list, fmt.Appendf(have, "%s ", id))
	}
}

// readList gives the ids of a list.
func readList(ctx context.Context, sink *durable.Sink, list string) ([]string, error) {
	text, err := sink.Get(ctx, list)
	return strings.Fields(string(text)), err
}
