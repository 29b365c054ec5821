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
	"github.com/loopmesh/loopmesh/cluster/events"
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

// withRoutes gives each machine a second network, of which the clients know nothing, and
// returns the beginning of its addresses.
func (n *network) withRoutes() string {
	id := os.Getpid() % 200
	bridge, prefix := n.name+"r", fmt.Sprintf("10.%d.78.", 20+id)
	ip(n.t, "link add "+bridge+" type bridge")
	n.t.Cleanup(func() { ip(n.t, "link del "+bridge) })
	ip(n.t, "link set "+bridge+" up")
	for i := 1; i <= 3; i++ {
		space := fmt.Sprintf("%s-%d", n.name, i)
		ip(n.t, fmt.Sprintf("link add %sr%d type veth peer name eth1 netns %s", n.name, i, space))
		ip(n.t, fmt.Sprintf("link set %sr%d master %s up", n.name, i, bridge))
		ip(n.t, fmt.Sprintf("-n %s addr add %s%d/24 dev eth1", space, prefix, i))
		ip(n.t, fmt.Sprintf("-n %s link set eth1 up", space))
	}
	return prefix
}

// cutRoutes takes a machine off the second network.
func (n *network) cutRoutes(machine int) {
	ip(n.t, fmt.Sprintf("link set %sr%d down", n.name, machine))
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
	for e := range n.Events(ctx) {
		if e.Kind == events.Dead {
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

// TestClientsOfAVoterThatIsCutOff cuts the routes of one voter. Clients that reach the
// other voters move there and go on; one that reaches only the voter that is cut off, and
// that voter itself, say so: their calls fail at once, and they serve nobody.
func TestClientsOfAVoterThatIsCutOff(t *testing.T) {
	p := openPage(t)
	net := p.intoNetwork()
	routes := net.withRoutes()
	list := routes + "1:6222," + routes + "2:6222," + routes + "3:6222"
	var voters []string
	for i := 1; i <= 3; i++ {
		machine := fmt.Sprintf("10.0.0.%d", i)
		p.run("here", "scp loopmesh "+machine+":")
		p.start(machine, fmt.Sprintf("./loopmesh start --name n%[1]d --insecure --loops 1 --voter --routes %[2]s --route-listen %[3]s%[1]d:6222 --listen 10.0.0.%[1]d:4222 --store data", i, list, routes))
		voters = append(voters, fmt.Sprintf("%s%d:4222", p.prefix, i))
	}
	cutOff := voters[2]
	var workers []*cluster.Node
	at := func(w *cluster.Node) bool { return strings.HasSuffix(w.URL(), cutOff) }
	for len(workers) < 3 || len(workers) < 20 && !slices.ContainsFunc(workers, at) {
		w := join(t, cluster.Config{Name: fmt.Sprintf("w%d", len(workers)+1), Join: voters})
		newLoop(t, w, "io-0")
		workers = append(workers, w)
	}
	moving := workers[slices.IndexFunc(workers, at)]
	voter := p.running["10.0.0.3"]
	p.start("10.0.0.3", "./loopmesh start --name w99 --loops 1 --join 10.0.0.3:4222")
	alone := p.running["10.0.0.3"]
	for _, w := range workers {
		waitMembers(t, w, 4+len(workers))
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	kinds := make(chan events.Kind, 1000)
	var following sync.WaitGroup
	following.Go(func() {
		for e := range moving.Events(ctx) {
			if e.Kind == events.Fenced || e.Kind == events.Serving {
				kinds <- e.Kind
			}
		}
	})
	net.cutRoutes(3)
	p.until("all clients have left the voter that is cut off", func() bool { return !slices.ContainsFunc(workers, at) })
	for _, want := range []events.Kind{events.Fenced, events.Serving} {
		if got := receive(t, "an event of the one that moved", kinds); got != want {
			t.Errorf("it was told %v, want %v", got, want)
		}
	}
	for i, w := range workers {
		to := fmt.Sprintf("w%d/io-0", (i+1)%len(workers)+1)
		p.until(w.Name()+" calls "+to, func() bool {
			got, err := half.Via(w).Call(testCtx(t), refTo(t, w, to), 42)
			return got == 21 && err == nil
		})
	}
	for _, s := range []*started{voter, alone} {
		p.until("it says that it serves nobody", func() bool { return strings.Contains(s.out.String(), "this node serves nobody") })
	}
	for _, from := range []string{"n3", "w99"} {
		out, err := p.command(testCtx(t), "10.0.0.3", "./loopmesh func call demo.add '[1,2]' --on n1/io-0 --node "+from).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "lost most of the others") {
			t.Errorf("a call of %s across the partition: %v: %s", from, err, out)
		}
	}
	cancel()
	following.Wait()
}
