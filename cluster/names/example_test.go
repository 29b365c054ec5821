package names_test

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/names"
	"github.com/loopmesh/loopmesh/loopnode"
)

func ExampleClaim() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "names")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	one, err := cluster.Start(ctx, cluster.Config{Name: "one", StoreDir: dir, Logger: hclog.NewNullLogger()})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer one.Close()
	two, err := cluster.Start(ctx, cluster.Config{Name: "two", Beside: one, Logger: hclog.NewNullLogger()})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer two.Close()

	claim, err := names.Claim(ctx, one, "orders", loopnode.Ref{})
	fmt.Println(claim.Held(), err)
	_, err = names.Claim(ctx, two, "orders", loopnode.Ref{})
	fmt.Println(errors.Is(err, names.ErrTaken))
	fmt.Println(claim.Release(ctx))
	next, err := names.Acquire(ctx, two, "orders", loopnode.Ref{})
	fmt.Println(next.Owner().Node, next.Token() > claim.Token(), err)
	// Output:
	// true <nil>
	// true
	// <nil>
	// two true <nil>
}
