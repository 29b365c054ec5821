package main

import (
	"context"
	"fmt"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/loopnode"
)

// The functions that a node of this program registers. A program of one's own registers
// others: what a node can run is compiled into it, and nothing is sent to it that it
// could run by accident.

// Functions to try calls with, on every node that this program runs.
var (
	_ = cluster.Func("demo.add", func(_ context.Context, in []int) (sum int, err error) {
		for _, v := range in {
			sum += v
		}
		return sum, nil
	})
	_ = cluster.Func("demo.sleep", func(ctx context.Context, in string) (string, error) {
		d, err := time.ParseDuration(in)
		if err != nil {
			return "", fmt.Errorf("demo.sleep takes a duration such as \"1s\": %w", err)
		}
		return "slept " + in, loopnode.Sleep(ctx, d)
	})
	_ = cluster.Func("demo.where", func(ctx context.Context, _ struct{}) (string, error) {
		l, err := loopnode.Running(ctx)
		if err != nil {
			return "", err
		}
		n, ok := cluster.NodeOf(ctx)
		if !ok {
			return "", cluster.ErrNoNode
		}
		return n.Name() + "/" + l.Name(), nil
	})
)
