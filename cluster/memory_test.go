package cluster

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/loopmesh/loopmesh/internal/wire"
)

// TestAnIdleMemberCostsLittle: a client plays many nodes that say that they live and
// answer when they are asked. What a node keeps of each is bounded, the followers of its
// events included.
func TestAnIdleMemberCostsLittle(t *testing.T) {
	const members, most = 4000, 8 << 10
	n1 := group(t, 1, func(c *Config) { c.Heartbeat, c.DeadAfter = time.Second, patience })[0]
	nc := rawClient(t, n1)
	var answering sync.Mutex
	over := false
	t.Cleanup(func() { // before the client is closed
		answering.Lock()
		defer answering.Unlock()
		over = true
	})
	_, err := nc.Subscribe("loopmesh.to.*.7.>", func(m *nats.Msg) {
		answering.Lock()
		defer answering.Unlock()
		var f wire.Frame
		if !over && wire.Decode(m.Data, &f, nil) == nil && f.Kind == wire.Ask {
			name := strings.Split(m.Subject, ".")[2]
			publish(t, nc, toNode(n1, name), &wire.Frame{Kind: wire.Pong, ID: f.ID, From: name, FromNumber: 7, Standing: wire.Announced})
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	all := func(count int) { // in parts: names that have not answered yet are bounded
		for have := len(n1.Members()); have < count; have = len(n1.Members()) {
			for i := have - 1; i < min(have+400, count-1); i++ {
				name := "x" + strconv.Itoa(i)
				publish(t, nc, "loopmesh.members."+name, &wire.Frame{Kind: wire.Ping, ID: 1, From: name, FromNumber: 7, Standing: wire.Announced})
			}
			until(t, "they are members", func() bool { return len(n1.Members()) >= min(have+400, count) })
		}
	}
	all(101) // what the first ones make
	before := heap()
	all(members + 101)
	if each := (int64(heap()) - int64(before)) / members; each > most {
		t.Errorf("an idle member costs %d bytes, the most is %d", each, most)
	} else {
		t.Logf("an idle member costs %d bytes", each)
	}
}

// TestAFullStreamCostsLittle: streams whose peers read nothing, so that all is full that
// can be, at both ends: they are in this process.
func TestAFullStreamCostsLittle(t *testing.T) {
	const streams, most = 8, 2 << 20
	nodes := group(t, 2, patient)
	loop := newLoop(t, nodes[1], "io-0")
	fill := func() *RemoteTransport {
		h, _ := serveOne(t, nodes[1], loop)
		far, piece := open(t, nodes[0], h.address), make([]byte, 64<<10)
		for {
			short, cancel := context.WithTimeout(testCtx(t), time.Second)
			err := far.WriteWait(short, piece) // the kernel takes some megabytes
			cancel()
			if err != nil {
				wantIs(t, err, context.DeadlineExceeded)
				return far
			}
		}
	}
	full := []*RemoteTransport{fill()} // what the first one makes
	before := heap()
	for range streams {
		full = append(full, fill())
	}
	each := (int64(heap()) - int64(before)) / streams
	for _, s := range full {
		if s.WriteBufferSize() < 1<<19 {
			t.Errorf("a stream has %d bytes under way: it is not full", s.WriteBufferSize())
		}
	}
	if each > most {
		t.Errorf("a full stream costs %d bytes, the most is %d", each, most)
	}
	t.Logf("a full stream costs %d bytes", each)
}
