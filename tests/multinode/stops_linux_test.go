package multinode

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/events"
)

// make prove-stop stops a process 100 times for 1 to 30 s.
var (
	stopCount = flag.Int("stops", 4, "how often a process is stopped")
	stopMost  = flag.Duration("stop-most", 5*time.Second, "for how long at most")
)

// beMember, when set in the environment, makes this program a node of that name that
// prints the names of the nodes that it gives up.
const beMember = "LOOPMESH_TEST_MEMBER"

var _ = addRole(beMember, func(string) error { return member() })

func member() error {
	ctx := context.Background()
	cfg := cluster.Config{Name: os.Getenv(beMember), Logger: hclog.NewNullLogger()}
	if at := os.Getenv(beMember + "_AT"); at != "" {
		cfg.Join = []string{at}
	} else {
		cfg.Listen = "127.0.0.1:0"
	}
	n, err := cluster.Start(ctx, cfg)
	if err != nil {
		return err
	}
	fmt.Println("at", strings.TrimPrefix(n.URL(), "nats://"))
	for e := range n.Events(ctx) {
		switch e.Kind {
		case events.Dead:
			fmt.Println("dead", e.Member.Name, e.Why)
		case events.Joined:
			fmt.Println("joined", e.Member.Name)
		}
	}
	return fmt.Errorf("the node has ended: %w", n.Reason())
}

// stoppable is a process that is a member.
type stoppable struct {
	name string
	cmd  *exec.Cmd
	mu   sync.Mutex
	said []string
	knew map[string]bool // whom it takes for alive
	at   chan string
	over chan struct{}
}

func bootMember(t *testing.T, name, at string) *stoppable {
	t.Helper()
	me, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &stoppable{name: name, cmd: exec.Command(me), knew: map[string]bool{}, at: make(chan string, 1), over: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), beMember+"="+name, beMember+"_AT="+at)
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for in := bufio.NewScanner(out); in.Scan(); {
			p.hear(in.Text())
		}
		_ = p.cmd.Wait() // it is killed
		close(p.over)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.over
	})
	return p
}

func (p *stoppable) hear(line string) {
	kind, rest, _ := strings.Cut(line, " ")
	name, _, _ := strings.Cut(rest, " ")
	p.mu.Lock()
	defer p.mu.Unlock()
	switch kind {
	case "at":
		p.at <- rest
	case "joined":
		p.knew[name] = true
	case "dead":
		p.knew[name] = false
		p.said = append(p.said, line)
	}
}

// deaths returns and forgets what the process said of others.
func (p *stoppable) deaths() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	said := p.said
	p.said = nil
	return said
}

func (p *stoppable) knows(count int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, alive := range p.knew {
		if alive {
			count--
		}
	}
	return count == 0
}

// TestAStoppedProcessTakesNobodyForDead stops processes, the one with the server among
// them, and lets them go on. Others may give up the one that is stopped; nobody gives up
// one that is not.
func TestAStoppedProcessTakesNobodyForDead(t *testing.T) {
	hub := bootMember(t, "hub", "")
	all := []*stoppable{hub}
	at := receive(t, "the server", hub.at)
	for i := range 3 {
		all = append(all, bootMember(t, fmt.Sprintf("n%d", i+1), at))
	}
	together := func() {
		for _, p := range all {
			until(t, p.name+" knows all", func() bool { return p.knows(len(all) - 1) })
		}
	}
	together()
	rnd := rand.New(rand.NewPCG(1, uint64(*stopCount)))
	for i := range *stopCount {
		victim := all[i%len(all)]
		d := time.Second + time.Duration(rnd.Int64N(int64(max(*stopMost-time.Second, 1))))
		if err := victim.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		<-time.After(d)
		if err := victim.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		together()
		<-time.After(time.Second) // what is judged late
		together()
		for _, p := range all {
			for _, line := range p.deaths() {
				if !strings.HasPrefix(line, "dead "+victim.name+" ") {
					t.Errorf("%s was stopped for %v, and %s says: %s", victim.name, d, p.name, line)
				}
			}
		}
	}
}
