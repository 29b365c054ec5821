package cluster_test

import (
	"context"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
)

type pair struct{ A, B int }

var multiply = cluster.Func("example.multiply", func(_ context.Context, in pair) (int, error) {
	return in.A * in.B, nil
})

// Two nodes in one process; on two machines the second one would have
// Config{Join: []string{"host:port"}}.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	log := hclog.NewNullLogger()
	a, err := cluster.Start(ctx, cluster.Config{Name: "a", Logger: log})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer a.Close()
	b, err := cluster.Start(ctx, cluster.Config{Name: "b", Beside: a, Logger: log})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()
	if _, err := b.NewLoop("io-0"); err != nil {
		fmt.Println(err)
		return
	}
	ref, err := a.Ref("b/io-0")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(multiply.Call(ctx, ref, pair{6, 7}))
	// Output: 42 <nil>
}
