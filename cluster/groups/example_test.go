package groups_test

import (
	"context"
	"fmt"
	"log"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/groups"
)

var upper = cluster.Func("example.upper", func(_ context.Context, s string) (string, error) { return strings.ToUpper(s), nil })

func Example() {
	ctx := context.Background()
	n1, err := cluster.Start(ctx, cluster.Config{Name: "n1", Logger: hclog.NewNullLogger()})
	check(err)
	defer n1.Close()
	n2, err := cluster.Start(ctx, cluster.Config{Name: "n2", Beside: n1, Logger: hclog.NewNullLogger()})
	check(err)
	defer n2.Close()
	loop, err := n2.NewLoop("io-0")
	check(err)
	_, err = groups.Join(n2, "text", loop)
	check(err)
	check(n1.WaitMembers(ctx, 2))

	out, err := groups.Call(ctx, n1, "text", upper, "hello") // waits until it knows a member
	check(err)
	fmt.Println(out)
	// Output: HELLO
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
