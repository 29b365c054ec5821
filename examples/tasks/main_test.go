package main

import (
	"bytes"
	"context"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/loopnode/looptest"
)

// The clock is virtual: the test takes no time, and a busy machine cannot make
// two timers due in one turn.
func TestOutput(t *testing.T) {
	loop, _, err := looptest.New(loopnode.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer loop.Close()
	var out bytes.Buffer
	ctx := loop.Context(context.Background())
	main := loopnode.CreateTask(ctx, "main", func(ctx context.Context) (struct{}, error) { return struct{}{}, run(ctx, &out) })
	if _, err := loopnode.RunUntilComplete(loop, main); err != nil {
		t.Fatal(err)
	}
	want := `quick is done
a timer, between the two
slow is done
forever cleans up
forever was cancelled: enough
`
	if out.String() != want {
		t.Fatalf("got\n%s\nwant\n%s", out.String(), want)
	}
}
