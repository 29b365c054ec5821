package placement_test

import (
	"context"
	"fmt"
	"os"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/names"
	"github.com/loopmesh/loopmesh/cluster/placement"
	"github.com/loopmesh/loopmesh/loopnode"
)

func ExampleServe() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "placement")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	node, err := cluster.Start(ctx, cluster.Config{Name: "one", StoreDir: dir, Logger: hclog.NewNullLogger()})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer node.Close()
	loop, err := node.NewLoop("io-0")
	if err != nil {
		fmt.Println(err)
		return
	}
	began := make(chan string)
	shard := placement.Kind{Name: "shard", Run: func(ctx context.Context, name string, o *names.Ownership) error {
		began <- name
		return loopnode.WaitDone(ctx) // until this node is not its owner any more
	}}
	server, err := placement.Serve(node, loop, shard) // on each node that may run shards
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Stop()
	fmt.Println(placement.Want(ctx, node, "shard", "eu-1")) // once, from anywhere
	fmt.Println(<-began, "runs")
	// Output:
	// <nil>
	// eu-1 runs
}
