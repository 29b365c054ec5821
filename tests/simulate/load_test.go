package simulate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/clustertest"
	"github.com/loopmesh/loopmesh/tests/prove/history"
)

const address = "io-0" // of the loop of each node

// world is one simulated cluster and its history. There is one at a time.
type world struct {
	*clustertest.Cluster
	written *history.Log
	planted string // a fault of the product to imitate; "": none
	stop    chan struct{}
	work    sync.WaitGroup
}

var now *world

type numbered struct {
	Sender, To string
	N          uint64
}

var (
	echo = cluster.Func("simulate.echo", func(ctx context.Context, id string) (string, error) {
		now.ran(ctx, history.Event{Op: history.Call, ID: id})
		return id, nil
	})
	note = cluster.Func("simulate.note", func(ctx context.Context, in numbered) (struct{}, error) {
		if now.planted == "lost" && in.N%20 == 0 {
			return struct{}{}, nil
		}
		now.ran(ctx, history.Event{Op: history.Cast, ID: in.Sender, To: in.To, N: in.N})
		return struct{}{}, nil
	})
)

// ran writes down that a function ran, and twice now and then when that is planted.
func (w *world) ran(ctx context.Context, e history.Event) {
	n, _ := cluster.NodeOf(ctx)
	e.Step, e.By = history.Ran, fmt.Sprintf("%s.%d", n.Name(), n.Incarnation())
	w.written.Add(e)
	if w.planted == "twice" && strings.HasSuffix(e.ID, "0") {
		w.written.Add(e)
	}
}

// pause waits, and says false when the load is over.
func (w *world) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-w.stop:
		return false
	}
}

// load starts what the clients do.
func (w *world) load() {
	for _, name := range clients {
		c := w.Node(name)
		for _, to := range append(append([]string{}, clients...), victims...) {
			if to != name {
				w.work.Go(func() { w.call(c, to) })
				w.work.Go(func() { w.cast(c, to) })
				w.work.Go(func() { w.watch(c, to) })
			}
		}
	}
}

// didNotHappen are the errors that say so.
var didNotHappen = []error{
	cluster.ErrUnknownNode, cluster.ErrUnknownLoop, cluster.ErrUnknownFunction, cluster.ErrDeadIncarnation, cluster.ErrStaleAddress,
	cluster.ErrBusy, cluster.ErrNoCredit, cluster.ErrFenced,
}

func judge(err error) (history.Step, string) {
	if err == nil {
		return history.OK, ""
	}
	for _, e := range didNotHappen {
		if errors.Is(err, e) {
			return history.Refused, err.Error()
		}
	}
	return history.Unknown, err.Error()
}

const (
	callLimit = 5 * time.Second
	each      = 400 * time.Millisecond // between two of one kind from one client to one node
)

func (w *world) call(c *cluster.Node, to string) {
	for i := 0; w.pause(each); i++ {
		id := fmt.Sprintf("%s>%s/%d", c.Name(), to, i)
		ref, err := c.Ref(to + "/" + address)
		if err != nil {
			continue // it is down
		}
		ctx, cancel := context.WithTimeout(context.Background(), callLimit)
		w.written.Add(history.Event{By: c.Name(), Op: history.Call, Step: history.Invoke, ID: id, To: to, Due: w.written.Now() + int64(callLimit)})
		_, err = echo.Via(c).Call(ctx, ref, id)
		cancel()
		step, text := judge(err)
		w.written.Add(history.Event{By: c.Name(), Op: history.Call, Step: step, ID: id, To: to, Err: text})
	}
}

func (w *world) cast(c *cluster.Node, to string) {
	in := numbered{Sender: c.Name() + ">" + to, To: to}
	for w.pause(each) {
		ref, err := c.Ref(to + "/" + address)
		if err != nil {
			continue
		}
		in.N++
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		err = note.Via(c).CallSoon(ctx, ref, in)
		cancel()
		step, text := judge(err)
		w.written.Add(history.Event{By: c.Name(), Op: history.Cast, Step: step, ID: in.Sender, To: to, N: in.N, Err: text})
	}
}

// lost writes down what a client was told of casts.
func (w *world) lost(by string, l cluster.Loss) {
	to, _, _ := strings.Cut(l.Target, "/")
	w.written.Add(history.Event{By: by, Op: history.Cast, Step: history.Told, To: to, N: l.Count, Err: fmt.Sprint(l.Reason)})
}

// watch watches a node, and again when it was told.
func (w *world) watch(c *cluster.Node, to string) {
	for i := 0; ; i++ {
		id := fmt.Sprintf("%s>%s/%d", c.Name(), to, i)
		ended := make(chan struct{}, 1)
		ref, err := c.Ref(to + "/" + address)
		if err == nil {
			w.written.Add(history.Event{By: c.Name(), Op: history.Watch, Step: history.Invoke, ID: id, To: to})
			_, err = c.Watch(ref, func(e cluster.Terminated) {
				w.written.Add(history.Event{By: c.Name(), Op: history.Watch, Step: history.Told, ID: id, To: to, Err: e.Reason.Error()})
				select {
				case ended <- struct{}{}:
				default: // a second notice: the checker sees it
				}
			})
		}
		if err == nil {
			select {
			case <-ended:
			case <-w.stop:
				return
			}
		}
		if !w.pause(100 * time.Millisecond) {
			return
		}
	}
}
