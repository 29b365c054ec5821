package multinode

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/loopmesh/loopmesh/internal/wire"
)

// resident is the memory of a process in MiB, as the kernel counts it.
func resident(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kib >> 10
}

// TestFloodsOfAClientWithoutANode lets somebody without a node publish, as fast as the
// server takes it, what makes a node remember something: in the names of nodes that do
// not exist, of one that does, and garbage. The memory of the node stays bounded, nobody
// is given up, and afterwards the nodes talk as before.
func TestFloodsOfAClientWithoutANode(t *testing.T) {
	// What they hold is judged, not how much garbage the collector lets stand beside it.
	t.Setenv("GOMEMLIMIT", "150MiB")
	hub := bootMember(t, "hub", "")
	at := receive(t, "the server", hub.at)
	all := []*stoppable{hub, bootMember(t, "n1", at), bootMember(t, "n2", at)}
	together := func() {
		for _, p := range all {
			until(t, p.name+" knows all", func() bool { return p.knows(len(all) - 1) })
		}
	}
	together()
	l := newLiar(t, at)
	until(t, "their heartbeats are heard", func() bool { return l.life("hub") != 0 && l.life("n1") != 0 && l.life("n2") != 0 })
	victim, life := all[1], l.life("n1")
	to := func(from string) string { return fmt.Sprintf("loopmesh.to.n1.%d.%s.x", life, from) }
	const each = 100_000
	name := func(i int) string { return "x" + strconv.Itoa(i) }
	garbage := make([]byte, 2048)
	if _, err := rand.Read(garbage); err != nil {
		t.Fatal(err)
	}
	big := bytes.Repeat([]byte{'x'}, 900<<10)
	floods := []struct {
		what  string
		count int
		one   func(i int)
	}{
		{"names", each, func(i int) {
			l.say("loopmesh.members."+name(i), wire.Frame{Kind: wire.Ping, ID: 1, From: name(i), FromNumber: 9, Standing: wire.Announced})
		}},
		{"lives of one name", each, func(i int) {
			l.say("loopmesh.members.x", wire.Frame{Kind: wire.Claim, From: "x", FromNumber: uint64(i + 1), Standing: wire.Announced})
		}},
		{"watches", each, func(i int) {
			l.say(to(name(i%5000)), wire.Frame{Kind: wire.Watch, ID: uint64(i + 1), From: name(i % 5000), FromNumber: 9, Path: "io-" + strconv.Itoa(i)})
		}},
		{"flows", 3 * each, func(i int) {
			l.say(to("x"), wire.Frame{Kind: wire.Sync, From: "x", FromNumber: uint64(i/1000 + 1), Flow: uint64(i + 1), Path: "io-0", At: wire.Amount{Messages: 1, Bytes: 1}})
		}},
		{"streams", each, func(i int) {
			l.say(to(name(i%5000)), wire.Frame{Kind: wire.Stream, ID: uint64(i + 1), From: name(i % 5000), FromNumber: 9, Op: wire.Open, Flow: uint64(i + 1), Path: "io-0/transports/1"})
		}},
		{"calls", each, func(i int) {
			l.say(to(name(i)), wire.Frame{Kind: wire.Call, ID: uint64(i + 1), From: name(i), FromNumber: 9, Path: "io-0", Function: "no.such", Codec: wire.JSON, Payload: []byte("{}")})
		}},
		{"casts for later", each, func(i int) {
			l.say(to(name(i)), wire.Frame{Kind: wire.Cast, ID: uint64(i + 1), From: name(i), FromNumber: 9, Path: "io-0", Function: "no.such", Op: wire.Later, When: 1 << 60, Codec: wire.JSON, Payload: []byte("{}")})
		}},
		{"garbage", each, func(i int) {
			if err := l.nc.Publish(to("x"), garbage[i%1000:i%1000+i%900]); err != nil {
				t.Fatal(err)
			}
		}},
		{"large frames", 200, func(i int) {
			l.say(to("x"), wire.Frame{Kind: wire.Tell, ID: uint64(i), From: "x", FromNumber: 9, Path: "nobody", Function: "no.such", Codec: wire.Raw, Payload: big})
		}},
	}
	before := resident(t, victim.cmd.Process.Pid)
	for _, f := range floods {
		for i := range f.count {
			f.one(i)
		}
		if err := l.nc.FlushWithContext(testCtx(t)); err != nil {
			t.Fatal(f.what, err)
		}
		t.Logf("after %d %s: %d MiB", f.count, f.what, resident(t, victim.cmd.Process.Pid))
	}
	begun := l.heard()
	until(t, "the heartbeats go on", func() bool { return l.heard() >= begun+6 })
	together()
	after := resident(t, victim.cmd.Process.Pid)
	if after > before+300*shadow {
		t.Errorf("the node has %d MiB, it had %d", after, before)
	}
	for _, p := range all {
		if said := p.deaths(); len(said) != 0 {
			t.Errorf("%s says: %q", p.name, said)
		}
	}
}
