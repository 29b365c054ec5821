package cluster

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/actors"
)

// TestDeathsAreSeenSoon kills nodes one after another, with heartbeats that are
// of no help, and says how long the others took to tell.
func TestDeathsAreSeenSoon(t *testing.T) {
	slow := func(c *Config) { c.Heartbeat, c.DeadAfter = 5*time.Second, 15*time.Second }
	t.Run("the embedded server tells", func(t *testing.T) { seeDeaths(t, group(t, 2, slow), 30, 0) })
	t.Run("a server that tells nobody", func(t *testing.T) {
		_, port := natsServer(t, 0)
		url := natsURL(port)
		seeDeaths(t, group(t, 2, slow, func(c *Config) { c.Beside, c.URL = nil, url }), 30, 0)
	})
	t.Run("a server that tells nobody, and nobody depended on a node for a while", func(t *testing.T) {
		_, port := natsServer(t, 0)
		url := natsURL(port)
		seeDeaths(t, group(t, 2, slow, func(c *Config) { c.Beside, c.URL = nil, url }), 3, 1300*time.Millisecond)
	})
}

// seeDeaths kills count nodes, each that long after the one before.
func seeDeaths(t *testing.T, nodes []*Node, count int, pause time.Duration) {
	var took []time.Duration
	for i := range count {
		<-time.After(pause) // nothing tells that a node rests
		cfg := nodes[1].cfg
		cfg.Name = fmt.Sprintf("k%d", i)
		victim := start(t, cfg)
		newLoop(t, victim, "io")
		if err := nodes[0].WaitMembers(testCtx(t), len(nodes)+1); err != nil {
			t.Fatal(err)
		}
		at := cfg.Name + "/io"
		loop := watchInto(t, nodes[0], at)
		actor := make(chan actors.Terminated, 1)
		nodes[0].Actors().Watch(actors.RefOf(actors.Address{Node: cfg.Name, Path: "io"}), func(e actors.Terminated) { actor <- e })
		until(t, "the watch stands", acked(nodes[0]))
		begin := time.Now()
		die(victim)
		wantIs(t, receive(t, "the notice", loop).Reason, ErrNodeDown)
		took = append(took, time.Since(begin))
		wantIs(t, receive(t, "the actors' notice", actor).Reason, ErrNodeDown)
		victim.Close()
	}
	slices.Sort(took)
	t.Logf("%d deaths seen after p50 %v, p99 %v", len(took), took[len(took)/2], took[len(took)-1])
	if p50 := took[len(took)/2]; p50 > time.Second {
		t.Errorf("half of the deaths were seen after more than %v: only heartbeats tell of them", p50)
	}
}
