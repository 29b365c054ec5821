package cluster

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/internal/wire"
)

// lockedText collects a log.
type lockedText struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lockedText) count(word string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), word)
}

// TestANodeOfAnotherWireVersionIsRefused: a stand-in speaks the version before this one
// and the one behind it, on every subject. It is refused, counted, and named in the log
// a few times; nobody takes it for a member, and the node works on.
func TestANodeOfAnotherWireVersionIsRefused(t *testing.T) {
	log := &lockedText{}
	n1 := start(t, Config{Name: "n1", Logger: hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Warn})})
	newLoop(t, n1, "io-0")
	nc := rawClient(t, n1)
	const each = 2000
	before := n1.Stats().Malformed
	frames := []*wire.Frame{
		{Kind: wire.Ping, ID: 1, From: "n9", FromNumber: 9, Standing: wire.Announced},
		{Kind: wire.Ask, ID: 1, From: "n9", FromNumber: 9, Standing: wire.Announced},
		{Kind: wire.Goodbye, From: "n9", FromNumber: 9},
		{Kind: wire.Call, ID: 1, From: "n9", FromNumber: 9, Path: "io-0", Function: "test.add", Codec: wire.JSON, Payload: []byte("{}")},
	}
	sent := uint64(0)
	for _, version := range []byte{wire.Version - 1, wire.Version + 1} {
		for i := range each {
			raw := frames[i%len(frames)].Append(nil)
			raw[0] = version
			to := []string{"loopmesh.members.n9", toNode(n1, "n9"), "loopmesh.name.n1.n9"}[i%3]
			if err := nc.Publish(to, raw); err != nil {
				t.Fatal(err)
			}
			sent++
		}
	}
	until(t, "all are counted", func() bool { return n1.Stats().Malformed == before+sent })
	if len(n1.Members()) != 1 {
		t.Error("members:", n1.Members())
	}
	if got, err := add.Via(n1).Call(testCtx(t), refTo(t, n1, "n1/io-0"), sum{1, 2}); got != 3 || err != nil {
		t.Error(got, err)
	}
	if n := log.count("unknown version"); n == 0 || n > 100 {
		t.Errorf("%d lines in the log for %d frames", n, sent)
	}
	if log.count(fmt.Sprintf("this node speaks %d", wire.Version)) == 0 {
		t.Error("the log does not say which version this node speaks")
	}
}
