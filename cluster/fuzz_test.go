package cluster

import (
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/loopmesh/loopmesh/internal/wire"
)

// FuzzReceive gives a node whatever bytes as a frame. It must stay a node.
func FuzzReceive(f *testing.F) {
	n := start(f, Config{Name: "target"})
	newLoop(f, n, "io-0")
	from := wire.Frame{From: "x", FromNumber: 7, ID: 1, Path: "io-0", Function: "test.add", Op: wire.Soon, Codec: wire.JSON, Payload: []byte(`{"A":1}`)}
	for kind := wire.Call; kind <= wire.Watching; kind++ {
		frame := from
		frame.Kind = kind
		f.Add(uint8(0), frame.Append(nil))
		f.Add(uint8(1), frame.Append(nil))
		f.Add(uint8(2), frame.Append(nil))
	}
	f.Add(uint8(1), []byte{})
	handle, members := n.link.Receiver(), n.link.BroadcastReceiver()
	reply := n.engine.Subjects.Reply
	subjects := []string{toNode(n, "x"), reply + "1", reply + "p-1-1-x", reply + "n-", reply + "l-x", reply + "w-x@7", reply + "xzz"}
	f.Fuzz(func(t *testing.T, where uint8, b []byte) {
		before := n.Stats().FramesIn
		if where%8 == 7 {
			members(&nats.Msg{Subject: "loopmesh.members.x", Data: b})
		} else {
			handle(&nats.Msg{Subject: subjects[int(where)%len(subjects)], Data: b, Header: nats.Header{"Status": {"503"}}})
		}
		if len(b) > 0 && n.Stats().FramesIn == before {
			t.Error("the frame was not counted")
		}
		if got, err := add.Via(n).Call(t.Context(), refTo(t, n, "target/io-0"), sum{1, 2}); got != 3 || err != nil {
			t.Fatalf("the node is broken: %v, %v", got, err)
		}
	})
}
