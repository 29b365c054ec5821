package multinode

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/loopmesh/loopmesh/cluster"
)

// ticks are the calls without an answer of each sender that have run.
var ticks = struct {
	mu    sync.Mutex
	last  map[int]int // by sender
	ran   int
	wrong string
}{last: map[int]int{}}

type tick struct{ Sender, N int }

var tickSoon = cluster.Func("multinode.tick", func(_ context.Context, in tick) (struct{}, error) {
	ticks.mu.Lock()
	defer ticks.mu.Unlock()
	if last := ticks.last[in.Sender]; in.N <= last && ticks.wrong == "" {
		ticks.wrong = fmt.Sprintf("call %d of sender %d ran behind %d", in.N, in.Sender, last)
	}
	ticks.last[in.Sender] = in.N
	ticks.ran++
	return struct{}{}, nil
})

func ticked() int {
	ticks.mu.Lock()
	defer ticks.mu.Unlock()
	return ticks.ran
}

// pattern is what streams carry: each byte says where it belongs.
func pattern(at, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte((at + i) % 251)
	}
	return p
}

// write sends the pattern to a connection of w until it ends, and returns how much the
// peer got. What arrives is a beginning of what was sent.
func write(t *testing.T, from *cluster.Node, s *served, stop <-chan struct{}) int {
	got := make(chan int, 1)
	go func() {
		at, buf := 0, make([]byte, 64<<10)
		for {
			n, err := s.peer.Read(buf)
			if want := pattern(at, n); string(buf[:n]) != string(want) {
				t.Errorf("the bytes of a stream are wrong at %d", at)
			}
			if at += n; err != nil {
				got <- at
				return
			}
		}
	}()
	defer func() { _ = s.peer.Close() }()
	far, err := from.Transport(context.Background(), s.address)
	for at := 0; err == nil; {
		select {
		case <-stop:
			err = io.EOF
			continue
		default:
		}
		p := pattern(at, 32<<10)
		err = far.WriteWait(context.Background(), p)
		at += len(p)
	}
	if err != io.EOF && !isCoded(err) {
		t.Errorf("a stream ended with %v", err)
	}
	if far != nil {
		far.Abort()
	}
	_ = s.peer.Close()
	return receive(t, "the reader", got)
}

// TestVotersAreKilledUnderHeavyLoad kills each of three voters in turn while two nodes
// that are clients of them call each other, with and without answers, and write to a
// connection. Nine of ten calls end in their results, the others in coded errors; what was sent without an
// answer runs at most once, in order, and is told as lost otherwise; the bytes of a stream
// arrive whole or the stream ends; no survivor is taken for dead.
func TestVotersAreKilledUnderHeavyLoad(t *testing.T) {
	p := openPage(t)
	ticks.mu.Lock()
	ticks.ran, ticks.wrong, ticks.last = 0, "", map[int]int{}
	ticks.mu.Unlock()
	var lost atomic.Int64
	workers := p.startVoters(func(c *cluster.Config) { c.OnLoss = func(l cluster.Loss) { lost.Add(int64(l.Count)) } })
	died := []<-chan cluster.Terminated{watched(t, workers[0], "w2/io-0"), watched(t, workers[1], "w1/io-0")}
	streams := newLoop(t, workers[1], "streams")
	stop, work := make(chan struct{}), &load{}
	var busy sync.WaitGroup
	var sent, bytes atomic.Int64
	for i, w := range workers {
		ref := refTo(t, w, fmt.Sprintf("w%d/io-0", 2-i))
		for range 4 {
			busy.Go(func() { work.run(t, w, ref, stop) })
		}
		busy.Go(func() {
			for n := 1; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				err := tickSoon.Via(w).CallSoon(ctx, ref, tick{i, n})
				cancel()
				switch {
				case err == nil:
					sent.Add(1)
				case !isCoded(err):
					t.Error(err)
				}
			}
		})
	}
	busy.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				bytes.Add(int64(write(t, workers[0], serveOne(t, workers[1], streams), stop)))
			}
		}
	})
	for i := range 3 {
		machine := fmt.Sprintf("10.0.0.%d", i+1)
		line := p.kill(machine)
		for _, w := range workers {
			waitMembers(t, w, 4)
		}
		calls, casts := work.good(), ticked()
		p.until("both kinds of calls go on without "+machine, func() bool { return work.good() > calls+100 && ticked() > casts+1000 })
		p.start(machine, line)
		for _, w := range workers {
			waitMembers(t, w, 5)
		}
	}
	close(stop)
	busy.Wait()
	p.until("each call without an answer has run or is told as lost", func() bool { return int64(ticked())+lost.Load() >= sent.Load() })
	ticks.mu.Lock()
	defer ticks.mu.Unlock()
	if ticks.wrong != "" || int64(ticks.ran) > sent.Load() {
		t.Errorf("%d sent, %d ran: %s", sent.Load(), ticks.ran, ticks.wrong)
	}
	work.mostSucceeded(t)
	t.Logf("%d calls without an answer, %d ran, %d told as lost; %d MiB in streams", sent.Load(), ticks.ran, lost.Load(), bytes.Load()>>20)
	for _, d := range died {
		if len(d) != 0 {
			t.Error("a survivor was taken for dead:", (<-d).Reason)
		}
	}
}
