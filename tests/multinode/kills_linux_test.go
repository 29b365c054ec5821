package multinode

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
)

// TestKilledProcessesAreToldOfSoon kills processes one after another and says how
// long a node beside the server and one of its clients took to tell.
func TestKilledProcessesAreToldOfSoon(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	hub := join(t, cluster.Config{Name: "hub", Listen: "127.0.0.1:0"})
	at := strings.TrimPrefix(hub.URL(), "nats://")
	far := join(t, cluster.Config{Name: "far", Join: []string{at}})
	took := map[string][]time.Duration{}
	for i := range 20 {
		name := fmt.Sprintf("n%d", i)
		victim := boot(t, name, at)
		ends := map[string]<-chan cluster.Terminated{}
		for _, n := range []*cluster.Node{hub, far} {
			waitMembers(t, n, 3)
			ends[n.Name()] = watched(t, n, name+"/io-0")
		}
		begin := time.Now()
		victim.signal(t, syscall.SIGKILL)
		for who, ended := range ends {
			e := receive(t, "a notice", ended)
			took[who] = append(took[who], time.Since(begin))
			wantReason(t, e, cluster.ErrNodeDown)
		}
		for _, n := range []*cluster.Node{hub, far} {
			waitMembers(t, n, 2)
		}
	}
	for who, all := range took {
		slices.Sort(all)
		t.Logf("%s: %d kills seen after p50 %v, p99 %v", who, len(all), all[len(all)/2], all[len(all)-1])
		if half := all[len(all)/2]; half > 750*time.Millisecond { // a heartbeat is a second, death by silence takes three
			t.Errorf("%s saw half of the kills after more than %v", who, half)
		}
	}
}
