package multinode

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/loopnode"
)

var half = cluster.Func("multinode.half", func(_ context.Context, n int) (int, error) { return n / 2, nil })

// load counts how calls ended.
type load struct {
	mu            sync.Mutex
	calls, failed int
}

// coded are the errors in which a call may end while a voter goes.
var coded = []error{cluster.ErrDisconnected, cluster.ErrNodeDown, cluster.ErrUnknownNode, cluster.ErrExpired, cluster.ErrLost, cluster.ErrClosed, cluster.ErrFenced}

// The load waits so long after a call that ended in a coded error, as a program should
// that may be cut off: twice as long each time, until a call succeeds.
const (
	firstPause = 25 * time.Millisecond
	mostPause  = 400 * time.Millisecond
)

// run calls until stop is closed.
func (l *load) run(t *testing.T, from *cluster.Node, to loopnode.Ref, stop <-chan struct{}) {
	again := time.NewTimer(0)
	defer again.Stop()
	pause := time.Duration(0)
	for n := 0; ; n += 2 {
		if pause > 0 {
			again.Reset(pause)
			select {
			case <-stop:
			case <-again.C:
			}
		}
		select {
		case <-stop:
			return
		default:
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		got, err := half.Via(from).Call(ctx, to, n)
		cancel()
		l.count(err)
		pause = min(max(2*pause, firstPause), mostPause)
		if err == nil {
			pause = 0
		}
		switch {
		case err == nil && got != n/2:
			t.Errorf("half of %d is %d", n, got)
		case err != nil && !isCoded(err):
			t.Error(err)
		}
	}
}

func isCoded(err error) bool {
	for _, c := range coded {
		if errors.Is(err, c) {
			return true
		}
	}
	return false
}

func (l *load) count(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.failed++
		return
	}
	l.calls++
}

// mostSucceeded demands that nine of ten calls have ended in their results.
func (l *load) mostSucceeded(t *testing.T) {
	t.Helper()
	good, bad := l.good(), l.bad()
	t.Logf("%d calls, of these %d ended in a coded error", good+bad, bad)
	if good < 9*bad {
		t.Errorf("%d of %d calls failed, at most one of ten may", bad, good+bad)
	}
}

func (l *load) good() int { l.mu.Lock(); defer l.mu.Unlock(); return l.calls }
func (l *load) bad() int  { l.mu.Lock(); defer l.mu.Unlock(); return l.failed }

// startVoters starts three voters on the machines of a page, and two nodes w1 and w2
// in this process that are clients of them, with a loop io-0 each.
func (p *page) startVoters(change ...func(*cluster.Config)) [2]*cluster.Node {
	t := p.t
	p.run("here", "./loopmesh keys init keys --cluster shop --voter n1=10.0.0.1 --voter n2=10.0.0.2 --voter n3=10.0.0.3 --node w1 --node w2")
	var voters []string
	for i := range 3 {
		p.run("here", fmt.Sprintf("scp -r loopmesh keys/nodes/n%d 10.0.0.%d:", i+1, i+1))
		p.start(fmt.Sprintf("10.0.0.%d", i+1), fmt.Sprintf("./loopmesh start --keys n%[1]d --loops 1 --voter --routes 10.0.0.1:6222,10.0.0.2:6222,10.0.0.3:6222 --listen 10.0.0.%[1]d:4222 --store data", i+1))
		voters = append(voters, fmt.Sprintf("%s%d:4222", p.prefix, i+1))
	}
	dir := filepath.Join(p.folder("here"), "keys")
	var workers [2]*cluster.Node
	for i := range workers {
		cfg := cluster.Config{Name: fmt.Sprintf("w%d", i+1), Join: voters, Keys: dir}
		for _, f := range change {
			f(&cfg)
		}
		workers[i] = join(t, cfg)
		newLoop(t, workers[i], "io-0")
	}
	for _, w := range workers {
		waitMembers(t, w, 5)
	}
	return workers
}

// TestVotersAreKilledUnderLoad kills each of three voters in turn, whichever leads,
// while two nodes that are clients of them call each other. Nine of ten calls end in their
// results, the others in coded errors, and none of the survivors is taken for dead.
func TestVotersAreKilledUnderLoad(t *testing.T) {
	p := openPage(t)
	workers := p.startVoters()
	died := []<-chan cluster.Terminated{watched(t, workers[0], "w2/io-0"), watched(t, workers[1], "w1/io-0")}
	stop, work, knew := make(chan struct{}), &load{}, []time.Duration(nil)
	var callers sync.WaitGroup
	for i, w := range workers {
		ref := refTo(t, w, fmt.Sprintf("w%d/io-0", 2-i))
		callers.Go(func() { work.run(t, w, ref, stop) })
	}
	for i := range 3 {
		machine := fmt.Sprintf("10.0.0.%d", i+1)
		begin := time.Now()
		line := p.kill(machine)
		for _, w := range workers {
			waitMembers(t, w, 4)
			knew = append(knew, time.Since(begin))
		}
		before := work.good()
		p.until("calls go on without "+machine, func() bool { return work.good() > before+100 })
		p.start(machine, line)
		for _, w := range workers {
			waitMembers(t, w, 5)
		}
	}
	close(stop)
	callers.Wait()
	work.mostSucceeded(t)
	slices.Sort(knew)
	t.Logf("both workers knew of the killed voters after %v", knew)
	if half := knew[len(knew)/2]; half > time.Second { // death by silence takes three
		t.Errorf("half of the kills were known after more than %v", half)
	}
	for _, d := range died {
		if len(d) != 0 {
			t.Error("a survivor was taken for dead:", (<-d).Reason)
		}
	}
}
