package transportactors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors/internal/testkit"
)

// loopCat copies stdin to stdout on a loop, and then tells on stderr where the
// standard numbers lead.
func loopCat() error {
	return loopnode.Run(context.Background(), func(ctx context.Context) error {
		out, wrote, err := ConnectWritePipe(ctx, func() *probe { return newProbe(ctx) }, os.Stdout)
		if err != nil {
			return err
		}
		_, read, err := ConnectReadPipe(ctx, func() *probe {
			p := newProbe(ctx)
			p.onData = func(b []byte) { _ = out.Write(b) }
			return p
		}, os.Stdin)
		if err != nil {
			return err
		}
		err = read.wait(ctx)
		out.Close()
		if err = errors.Join(err, wrote.wait(ctx), loopnode.Sleep(ctx, 0)); err != nil {
			return err
		}
		for fd := range 2 {
			link, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
			fmt.Fprintln(os.Stderr, fd, link, err)
		}
		return nil
	})
}

func TestStandardStreamsOnTheLoop(t *testing.T) {
	c := command(t, "loop-cat")
	var told bytes.Buffer
	c.Stderr = &told
	in, err := c.StdinPipe()
	must(t, err)
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	sent := testkit.Sequence(300000)
	go func() { // goroutine: owner: the test; ends when everything is written
		_, _ = in.Write(sent)
		_ = in.Close()
	}()
	got, err := io.ReadAll(out) // ends although the program still runs: its stdout was given up
	must(t, err)
	must(t, c.Wait())
	if !bytes.Equal(got, sent) {
		t.Errorf("%d of %d bytes", len(got), len(sent))
	}
	if s := told.String(); strings.Count(s, "/dev/null") != 2 {
		t.Error(s)
	}
}
