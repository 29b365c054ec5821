package durable_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/durable"
)

var ran = make(chan string, 2)

var remind = cluster.Func("example.remind", func(ctx context.Context, what string) (struct{}, error) {
	run, _ := durable.RunOf(ctx)
	ran <- run.ID + ": " + what
	return struct{}{}, nil
})

func ExampleCallLater() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "durable")
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
	if _, err := durable.Serve(node, "shop", loop); err != nil {
		fmt.Println(err)
	}
	if _, err := durable.Work(node, "mail", loop); err != nil {
		fmt.Println(err)
	}
	fmt.Println(durable.CallLater(ctx, node, "remind-17", remind, "pay", 10*time.Millisecond, durable.Group("shop")))
	fmt.Println(<-ran)
	fmt.Println(durable.Send(ctx, node, "mail", "mail-17", remind, "write", durable.Key("customer-3")))
	fmt.Println(<-ran)
	// Output:
	// <nil>
	// remind-17: pay
	// <nil>
	// mail-17: write
}
