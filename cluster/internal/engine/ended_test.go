package engine

import (
	"context"
	"fmt"
	"net"
	"testing"

	"github.com/loopmesh/loopmesh/internal/testport"
)

// lifeOf is what others are told of an engine.
func lifeOf(e *Engine) voterLife { return voterLife{e.cfg.Node, e.cfg.Number} }

// endings are collected by an engine's Events.Ended.
func toldOf(ended chan voterLife) Events {
	return Events{Ended: func(node string, number uint64) {
		select {
		case ended <- voterLife{node, number}:
		default: // it is told several times
		}
	}}
}

// votersAnd opens three voters that know each other's routes, and a client of each of joins'
// voters. told has what each of them is told, in that order.
func votersAnd(t *testing.T, joins ...[]int) (all []*Engine, told []chan voterLife) {
	t.Helper()
	routes := testport.Addresses(t, 3)
	open := func(cfg Config) {
		ended := make(chan voterLife, 8)
		cfg.Events = toldOf(ended)
		told, all = append(told, ended), append(all, opened(t, cfg))
	}
	for i, name := range []string{"v1", "v2", "v3"} {
		open(Config{Node: name, Voter: true, Routes: routes, RouteListen: routes[i], Listen: "127.0.0.1:0", StoreDir: t.TempDir()})
	}
	for _, e := range all {
		until(t, "all voters are connected and know each other's routes", func() bool {
			known := 0
			for _, other := range all {
				if _, life, ok := e.endings.find(other.cfg.Node); ok && life == lifeOf(other) {
					known++
				}
			}
			return len(e.Votes().Connected) == 3 && known >= 2
		})
	}
	for i, join := range joins {
		cfg := Config{Node: fmt.Sprint("c", i+1)}
		for _, v := range join {
			cfg.Join = append(cfg.Join, at(all[v]))
		}
		open(cfg)
		e := all[len(all)-1]
		until(t, "the client knows the voters", func() bool { return len(e.Votes().Connected) == 3 })
	}
	return all, told
}

// TestAVoterThatEndsIsToldOfByTheOthers: its server is gone, so no server can.
func TestAVoterThatEndsIsToldOfByTheOthers(t *testing.T) {
	all, told := votersAnd(t, []int{1}, []int{0, 1})
	gone := lifeOf(all[0])
	all[0].Close()
	for i, of := range []string{"", "v2", "v3", "c1", "c2, whose server it was"} {
		if of == "" {
			continue
		}
		if got := receive(t, "the word, by "+of, told[i]); got != gone {
			t.Errorf("%s is told that %v has ended, want %v", of, got, gone)
		}
	}
}

// TestOneVoterAloneIsNotBelieved: a firewall refused it in the name of the machine. Nobody
// acts, until another voter says the same.
func TestOneVoterAloneIsNotBelieved(t *testing.T) {
	all, told := votersAnd(t, []int{0})
	life, witnesses := lifeOf(all[1]), []int{0, 2, 3}
	all[0].hasEnded(life)
	for _, i := range witnesses {
		until(t, "its word is heard", func() bool {
			all[i].endings.mu.Lock()
			defer all[i].endings.mu.Unlock()
			return len(all[i].endings.words[life]) == 1
		})
	}
	for _, i := range witnesses {
		if len(told[i]) > 0 {
			t.Errorf("%s acts when one voter says so", all[i].cfg.Node)
		}
	}
	all[2].hasEnded(life)
	for _, i := range witnesses {
		if got := receive(t, "the word of two, by "+all[i].cfg.Node, told[i]); got != life {
			t.Errorf("%s is told that %v has ended, want %v", all[i].cfg.Node, got, life)
		}
	}
}

// TestOnlyAMachineThatRefusesSaysThatAVoterHasEnded: one that accepts has a process
// there.
func TestOnlyAMachineThatRefusesSaysThatAVoterHasEnded(t *testing.T) {
	l, err := net.Listen("tcp", testport.Address(t)) // that nobody is given when it is closed
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if nobodyListens(testCtx(t), address) {
		t.Error("a listener counts as ended")
	}
	_ = l.Close()
	if !nobodyListens(testCtx(t), address) {
		t.Error("a refused connection does not count as ended")
	}
	over, cancel := context.WithCancel(testCtx(t))
	cancel()
	if nobodyListens(over, address) {
		t.Error("an attempt that was given up counts as ended")
	}
}
