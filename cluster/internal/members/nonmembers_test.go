package members

import (
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster/internal/link"
)

func TestWhatNonmembersMayKeepIsBoundedInNumberAndTime(t *testing.T) {
	var over []link.Peer
	m := New(link.New(link.Self{Cluster: "c", Name: "n1", Number: 1}, hclog.NewNullLogger(), 1, link.Handlers{}),
		Config{Heartbeat: time.Second, DeadAfter: 3 * time.Second}, Events{Unknown: func(p link.Peer) { over = append(over, p) }}, hclog.NewNullLogger())
	member := link.Peer{Name: "n2", Number: 2}
	m.lives.Store(member.Name, member.Number)
	admitted := 0
	for i := range uint64(10 * maxNonmembers) {
		if m.Admit(link.Peer{Name: "x", Number: i + 1}) {
			admitted++
		}
	}
	if admitted != maxLives {
		t.Errorf("%d lives of one name were admitted", admitted)
	}
	for i := range 2 * maxNonmembers {
		if m.Admit(link.Peer{Name: fmt.Sprint("y", i), Number: 1}) {
			admitted++
		}
	}
	if admitted != maxNonmembers {
		t.Errorf("%d were admitted", admitted)
	}
	first := link.Peer{Name: "x", Number: 1}
	for _, p := range []link.Peer{member, {Name: "n1", Number: 1}, first} {
		if !m.Admit(p) {
			t.Errorf("%v is not admitted", p)
		}
	}
	if m.endNonmembers(); len(over) != 0 {
		t.Errorf("%d are over at once", len(over))
	}
	m.lives.Store("x", first.Number) // it has become a member
	m.begun = m.begun.Add(-nonmemberFor)
	m.endNonmembers()
	if len(over) != maxNonmembers-1 || len(m.nonmembers) != 0 {
		t.Errorf("%d are over, %d are left", len(over), len(m.nonmembers))
	}
	if !m.Admit(link.Peer{Name: "x", Number: 5000}) {
		t.Error("there is no room again")
	}
}
