package clustertest_test

import (
	"context"
	"fmt"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/clustertest"
	"github.com/loopmesh/loopmesh/loopnode"
)

var greet = cluster.Func("example.greet", func(_ context.Context, name string) (string, error) {
	return "hello, " + name, nil
})

// t stands for the *testing.T of a test.
type t struct{ cleanups []func() }

func (*t) Helper()                           {}
func (*t) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (t *t) Cleanup(fn func())               { t.cleanups = append(t.cleanups, fn) }
func (t *t) end() {
	for i := len(t.cleanups) - 1; i >= 0; i-- {
		t.cleanups[i]()
	}
}

func ExampleNew() {
	t := &t{} // in a test: the *testing.T
	defer t.end()
	c := clustertest.New(t, 3, func(_ string, cfg *cluster.Config) {
		cfg.Prepare = func(_ context.Context, n *cluster.Node) error {
			_, err := n.NewLoop("io-0", func(c *loopnode.Config) { c.Logger = cfg.Logger })
			return err
		}
	})
	c.Crash("n2")
	c.Eventually("n1 knows", func() bool { return !c.Knows("n1", "n2") })
	c.Restart("n2")
	c.Together()
	ref, err := c.Node("n1").Ref("n2/io-0")
	if err != nil {
		panic(err)
	}
	text, err := greet.Via(c.Node("n1")).Call(context.Background(), ref, "n2")
	fmt.Println(text, err)
	// Output: hello, n2 <nil>
}
