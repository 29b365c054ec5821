package multinode

import (
	"io"
	"sync/atomic"
	"testing"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/clustertest"
)

// TestAStreamMovesOrEndsWhenOnlyTheOtherSideWasCutOff takes the connection of the node
// that has the transport, again and again, while the writer's connection holds: what is
// on the way is lost, and nobody tells the writer's node of a reconnect. The writer must
// not wait for ever.
func TestAStreamMovesOrEndsWhenOnlyTheOtherSideWasCutOff(t *testing.T) {
	c := clustertest.New(t, 2, func(_ string, cfg *cluster.Config) { cfg.DeadAfter = 10 * patience })
	from, to := c.Node("n1"), c.Node("n2")
	loop := newLoop(t, to, "io-0")
	for range 5 {
		s := serveOne(t, to, loop)
		go func() { _, _ = io.Copy(io.Discard, s.peer) }()
		var far *cluster.RemoteTransport
		c.Eventually("n2 is found", func() bool {
			var err error
			far, err = from.Transport(testCtx(t), s.address)
			return err == nil
		})
		var written atomic.Int64
		ended := make(chan error, 1)
		go func() {
			p := make([]byte, 32<<10)
			for {
				if err := far.WriteWait(testCtx(t), p); err != nil {
					ended <- err // once
					return
				}
				written.Add(1)
			}
		}()
		moved := func(to int64) func() bool {
			return func() bool { return written.Load() >= to || len(ended) > 0 }
		}
		c.Eventually("bytes flow", moved(200))
		before := to.Stats().Disconnects
		c.Unplug("n2")
		c.Eventually("n2 is cut off", func() bool { return to.Stats().Disconnects > before })
		c.Heal("n2")
		c.Eventually("the stream goes on or ends", moved(written.Load()+200)) // more than the window
		if len(ended) > 0 && !isCoded(far.Err()) {
			t.Errorf("the stream ended with %v, its write with %v", far.Err(), <-ended)
		}
		far.Abort()
		_ = s.peer.Close()
	}
}
