//go:build netns

package multinode

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/loopmesh/loopmesh/cluster"
)

// These tests need root and iproute2: go test -tags netns ./tests/multinode. They
// make a bridge and a network namespace for each machine of a page, and take them
// away again.

func ip(t *testing.T, args string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", args, err, out)
	}
}

// network puts the machines of a page into namespaces of their own.
type network struct {
	t    *testing.T
	name string
}

func (p *page) intoNetwork() *network {
	id := os.Getpid() % 200
	n := &network{p.t, fmt.Sprintf("lm%d", id)}
	p.prefix = fmt.Sprintf("10.%d.77.", 20+id)
	ip(p.t, "link add "+n.name+" type bridge")
	p.t.Cleanup(func() { ip(p.t, "link del "+n.name) })
	ip(p.t, fmt.Sprintf("addr add %s254/24 dev %s", p.prefix, n.name))
	ip(p.t, "link set "+n.name+" up")
	for i := 1; i <= 3; i++ {
		space := fmt.Sprintf("%s-%d", n.name, i)
		ip(p.t, "netns add "+space)
		p.t.Cleanup(func() { ip(p.t, "netns del "+space) })
		ip(p.t, fmt.Sprintf("link add %s type veth peer name eth0 netns %s", space, space))
		ip(p.t, fmt.Sprintf("link set %s master %s up", space, n.name))
		ip(p.t, fmt.Sprintf("-n %s addr add %s%d/24 dev eth0", space, p.prefix, i))
		ip(p.t, fmt.Sprintf("-n %s link set eth0 up", space))
		ip(p.t, fmt.Sprintf("-n %s link set lo up", space))
	}
	p.inside = func(machine string) []string {
		if machine == "here" {
			return nil
		}
		return []string{"ip", "netns", "exec", n.name + "-" + machine[strings.LastIndexByte(machine, '.')+1:]}
	}
	return n
}

// cut takes a machine off the network, or puts it back.
func (n *network) cut(machine int, off bool) {
	state := "up"
	if off {
		state = "down"
	}
	ip(n.t, fmt.Sprintf("link set %s-%d %s", n.name, machine, state))
}

// deaths are the nodes that the workers gave up, in order, each as often as somebody
// said so.
type deaths struct {
	mu  sync.Mutex
	all []string
}

// watch writes down whom a node gives up, until ctx ends.
func (d *deaths) watch(ctx context.Context, n *cluster.Node) {
	for e := range n.MemberEvents(ctx) {
		if e.Kind == cluster.NodeDead {
			d.mu.Lock()
			d.all = append(d.all, e.Member.Name)
			d.mu.Unlock()
		}
	}
}

// take returns and forgets them.
func (d *deaths) take() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := d.all
	d.all = nil
	return all
}

// TestVotersArePartitionedUnderLoad cuts each of three voters off in turn while two
// nodes that are clients of them call each other. Only the one that is cut off is
// declared dead.
func TestVotersArePartitionedUnderLoad(t *testing.T) {
	p := openPage(t)
	net := p.intoNetwork()
	workers := p.startVoters()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stop, work, dead := make(chan struct{}), &load{}, &deaths{}
	died := []<-chan cluster.Terminated{watched(t, workers[0], "w2/io-0"), watched(t, workers[1], "w1/io-0")}
	var callers sync.WaitGroup
	for _, w := range workers {
		callers.Go(func() { dead.watch(ctx, w) })
	}
	for i, w := range workers {
		ref := refTo(t, w, fmt.Sprintf("w%d/io-0", 2-i))
		callers.Go(func() { work.run(t, w, ref, stop) })
	}
	for i := 1; i <= 3; i++ {
		machine := fmt.Sprintf("10.0.0.%d", i)
		net.cut(i, true)
		for _, w := range workers {
			waitMembers(t, w, 4)
		}
		before := work.good()
		p.until("calls go on without "+machine, func() bool { return work.good() > before+100 })
		p.until(machine+" knows that it is alone", func() bool {
			return strings.Contains(p.running[machine].out.String(), "majority=false")
		})
		net.cut(i, false)
		for _, w := range workers {
			waitMembers(t, w, 5)
		}
		gave := dead.take()
		if want := fmt.Sprintf("n%d", i); len(gave) == 0 || slices.ContainsFunc(gave, func(name string) bool { return name != want }) {
			t.Errorf("while %s was cut off, the workers declared dead: %v", want, gave)
		}
	}
	close(stop)
	cancel()
	callers.Wait()
	for _, d := range died {
		if len(d) != 0 {
			t.Error("a survivor was taken for dead:", (<-d).Reason)
		}
	}
	t.Logf("%d calls, %d ended in a coded error", work.good(), work.bad())
}
