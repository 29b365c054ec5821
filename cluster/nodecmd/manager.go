package nodecmd

import (
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/internal/sdnotify"
)

// What start tells a service manager that wants to know (Type=notify of systemd): that the
// node serves, that it stops, and again and again that it lives.
//
// What does "it lives" mean? A process whose loops are all stuck has a goroutine that could
// say so for ever. So each sign of life is preceded by a round: a callback is posted to
// every loop of the node, and the sign is sent when all of them have run. A loop that does
// not move for WatchdogSec ends the process, which is what the manager was asked for. There
// is one round at a time: a loop that is stuck gets one callback and not one for each tick.
//
// Invariant: READY is sent once, when other nodes can call this one and its services
// listen; nothing is sent after STOPPING but what asks for time.

// manager tells the service manager about one node. Owned by start.
type manager struct {
	to   sdnotify.Notifier
	log  hclog.Logger
	stop chan struct{}
	work sync.WaitGroup
}

// rounds is how many rounds there are in the time that the manager waits: one that is late
// must not end a process that lives.
const rounds = 3

// tellManager says that the node is ready, and begins with signs of life where they are
// wanted. The caller ends it.
func tellManager(node *cluster.Node, log hclog.Logger) *manager {
	m := &manager{to: sdnotify.From(os.Getenv, os.Getpid()), log: log, stop: make(chan struct{})}
	m.send("READY=1", fmt.Sprintf("STATUS=node %s serves, %s", node.Name(), plural(len(node.Loops()), "loop")))
	if d := m.to.Watchdog(); d > 0 {
		// goroutine: owner: the manager; ends when stopping or end closes m.stop
		m.work.Go(func() { m.watch(node, d/rounds) })
	}
	return m
}

// send sends; what cannot be sent is logged, since nothing else can be done about it.
func (m *manager) send(lines ...string) {
	if err := m.to.Send(lines...); err != nil {
		m.log.Warn("the service manager cannot be told", "error", err)
	}
}

// watch sends a sign of life each time that all loops have turned, every so often.
func (m *manager) watch(node *cluster.Node, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if !m.turned(node) {
			return
		}
		m.send("WATCHDOG=1")
		select {
		case <-tick.C:
		case <-m.stop:
			return
		}
	}
}

// turned waits until every loop of the node has run a callback; false: the manager ends.
// A loop that is closed meanwhile has no turn to wait for: its close counts as one.
func (m *manager) turned(node *cluster.Node) bool {
	for _, name := range node.Loops() {
		ref, ok := node.Loop(name)
		if !ok {
			continue
		}
		loop, local := ref.Local()
		if !local {
			continue
		}
		ran := make(chan struct{})
		turned := sync.OnceFunc(func() { close(ran) })
		if loop.Ref().CallSoonThreadsafe(turned) != nil {
			continue // closed
		}
		forget := loop.OnClose(turned)
		select {
		case <-ran:
			forget()
		case <-m.stop:
			forget()
			return false
		}
	}
	return true
}

// stopping says that the node stops, and may need so long for it.
func (m *manager) stopping(limit time.Duration) {
	m.end()
	m.send("STOPPING=1", "STATUS=leaving", fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", (limit+flushLimit).Microseconds()))
}

// end ends the signs of life; twice does no harm.
func (m *manager) end() {
	select {
	case <-m.stop:
	default:
		close(m.stop)
	}
	m.work.Wait()
}
