package multinode

import (
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/loopmesh/loopmesh/internal/wire"
)

// liar is a client without a node that publishes in the names of nodes. Where there
// are no keys the server lets it.
type liar struct {
	t     *testing.T
	nc    *nats.Conn
	mu    sync.Mutex
	lives map[string]uint64 // by name
	beats int               // heartbeats of these
}

func newLiar(t *testing.T, at string) *liar {
	nc, err := nats.Connect("nats://" + at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return listenAs(t, nc, "loopmesh")
}

// listenAs hears the heartbeats of a cluster.
func listenAs(t *testing.T, nc *nats.Conn, cluster string) *liar {
	l := &liar{t: t, nc: nc, lives: map[string]uint64{}}
	_, err := nc.Subscribe(cluster+".members.*", func(m *nats.Msg) {
		var f wire.Frame
		if wire.Decode(m.Data, &f, nil) == nil && f.Kind == wire.Ping {
			l.mu.Lock()
			defer l.mu.Unlock()
			if l.lives[f.From] == 0 { // the first one heard of is real
				l.lives[f.From] = f.FromNumber
			}
			if f.FromNumber == l.lives[f.From] {
				l.beats++
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// invented is above every real incarnation of this century.
const invented = uint64(1) << 62

func (l *liar) life(name string) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lives[name]
}

func (l *liar) heard() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.beats
}

func (l *liar) say(subject string, f wire.Frame) {
	l.t.Helper()
	if err := l.nc.Publish(subject, f.Append(nil)); err != nil {
		l.t.Fatal(err)
	}
}

// forge says that a later life of a node lives, in its own name and in that of others.
func (l *liar) forge(victim string, life uint64, others ...string) {
	l.t.Helper()
	to := fmt.Sprintf("loopmesh.to.%s.%d.", victim, l.life(victim))
	l.say("loopmesh.members."+victim, wire.Frame{Kind: wire.Ping, ID: 1, From: victim, FromNumber: life, Standing: wire.Announced})
	l.say("loopmesh.members."+victim, wire.Frame{Kind: wire.Claim, From: victim, FromNumber: life, Standing: wire.Announced | wire.Held})
	l.say(to+victim+".x", wire.Frame{Kind: wire.Refuse, ID: life, From: victim, FromNumber: life, Standing: wire.Announced})
	for id := range uint64(20) {
		l.say(to+victim+".x", wire.Frame{Kind: wire.Pong, ID: id, From: victim, FromNumber: life, Standing: wire.Announced})
	}
	for _, name := range others {
		f := wire.Frame{Kind: wire.Refuse, ID: l.life(victim) + 1, From: name, FromNumber: l.life(name), Standing: wire.Announced}
		l.say(to+name+".x", f)
		f.Kind, f.Standing = wire.Pong, wire.Announced|wire.Outdated
		for f.ID = range 20 {
			l.say(to+name+".x", f)
		}
	}
	if err := l.nc.Flush(); err != nil {
		l.t.Fatal(err)
	}
}

// TestAnInventedLifeEndsNobody lets somebody without a node say, in the names of
// nodes, that later lives of them exist. No node ends, and none is given up; a later
// life that really answers still ends the earlier one.
func TestAnInventedLifeEndsNobody(t *testing.T) {
	hub := bootMember(t, "hub", "")
	at := receive(t, "the server", hub.at)
	all := []*stoppable{hub, bootMember(t, "n1", at), bootMember(t, "n2", at)}
	together := func(members ...*stoppable) {
		for _, p := range members {
			until(t, p.name+" knows all", func() bool { return p.knows(len(members) - 1) })
		}
	}
	together(all...)
	l := newLiar(t, at)
	until(t, "their heartbeats are heard", func() bool { return l.life("hub") != 0 && l.life("n1") != 0 && l.life("n2") != 0 })
	begun := l.heard()
	for round := 0; l.heard() < begun+9; round++ { // each has had three heartbeats to be given up or to end
		l.forge("hub", invented+uint64(round), "n1", "n2")
		l.forge("n1", invented+uint64(round%3), "hub", "n2")
		l.forge("n2", l.life("n2")+uint64(1+round), "hub", "n1")
	}
	for _, p := range all {
		select {
		case <-p.over:
			t.Errorf("%s has ended", p.name)
		default:
		}
		if said := p.deaths(); len(said) != 0 {
			t.Errorf("%s says: %q", p.name, said)
		}
	}
	// One that listens under the later life and answers is believed.
	later := l.life("n2") + 1
	_, err := l.nc.Subscribe(fmt.Sprintf("loopmesh.to.n2.%d.>", later), func(m *nats.Msg) {
		var f wire.Frame
		if wire.Decode(m.Data, &f, nil) == nil && f.Kind == wire.Ask {
			l.say("loopmesh.to."+f.From+"."+strconv.FormatUint(f.FromNumber, 10)+".n2.x", wire.Frame{Kind: wire.Pong, ID: f.ID, From: "n2", FromNumber: later, Standing: wire.Announced})
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the earlier life ends", func() bool {
		l.say("loopmesh.members.n2", wire.Frame{Kind: wire.Ping, ID: 1, From: "n2", FromNumber: later, Standing: wire.Announced})
		select {
		case <-all[2].over:
			return true
		default:
			return false
		}
	})
}
