package prove

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/durable"
	"github.com/loopmesh/loopmesh/cluster/names"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/tests/prove/history"
	"github.com/loopmesh/loopmesh/transportactors"
)

// roleVariable, when set in the environment, makes this program a node: its value is a
// role.
const roleVariable = "LOOPMESH_PROVE_ROLE"

// role is what a process is told.
type role struct {
	Node   string
	Life   int
	Keys   string
	Dir    string // of the histories
	Voter  bool
	Routes []string
	Listen string
	Store  string
	Join   []string
	Names  int    // how many names it wants to own
	Serve  string // where it takes connections and sends back what comes; empty: nowhere
}

const (
	group   = "shop"
	queue   = "mail"
	address = "io-0" // of the loop of each node
)

// live is a process of a role: it says "ready", and ends when it is told to.
func live(text string) error {
	var r role
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return err
	}
	life := fmt.Sprintf("%s.%d", r.Node, r.Life)
	out, err := os.OpenFile(filepath.Join(r.Dir, life+".jsonl"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	written = history.NewLog(life, monotonic, out)
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var ref loopnode.Ref
	n, err := cluster.Start(ctx, cluster.Config{
		Name: r.Node, Keys: r.Keys, Voter: r.Voter, Routes: r.Routes, Listen: r.Listen, StoreDir: r.Store, Join: r.Join,
		AwaitNATS: len(r.Join) > 0,
		Prepare:   func(_ context.Context, n *cluster.Node) (err error) { ref, err = n.NewLoop(address); return err },
	})
	if err != nil {
		return err
	}
	defer n.Close()
	if _, err := durable.Serve(n, group, ref); err != nil {
		return err
	}
	if _, err := durable.Work(n, queue, ref); err != nil {
		return err
	}
	if err := sendBack(ctx, ref, r.Serve); err != nil {
		return err
	}
	over, stop := context.WithCancel(context.Background())
	var owners sync.WaitGroup
	for i := range r.Names {
		owners.Go(func() { own(over, n, fmt.Sprintf("name-%d", i), ref, life) })
	}
	defer owners.Wait()
	defer stop()
	fmt.Println("ready")
	select {
	case <-told:
		stop()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		return errors.Join(n.Stop(ctx), written.Err(), errEnded)
	case <-n.Done():
		return fmt.Errorf("the node ended by itself: %w", n.Reason())
	}
}

// sendBack sends back what comes to an address; none: it takes no connections. A twin comes up
// while the process that it replaces still listens there.
func sendBack(ctx context.Context, ref loopnode.Ref, at string) error {
	if at == "" {
		return nil
	}
	_, err := loopnode.RunCoroutineThreadsafe(ref, "serve", func(ctx context.Context) (*transportactors.Server, error) {
		return transportactors.StartServer(ctx, func(_ context.Context, s *transportactors.Stream) error {
			_, err := io.Copy(s, s)
			return err
		}, "tcp", at, transportactors.WithReusePort(true))
	}).Wait(ctx)
	return err
}

var errEnded = errors.New("ended as it was told to")

// own wants a name, acts as its owner for some seconds, gives it back and wants it again.
func own(ctx context.Context, n *cluster.Node, name string, ref loopnode.Ref, life string) {
	for i := 0; ctx.Err() == nil; i++ {
		id := fmt.Sprintf("%s/%s/%d", name, life, i)
		written.Add(history.Event{Op: history.Claim, Step: history.Invoke, ID: id, To: name})
		o, err := names.Acquire(ctx, n, name, ref)
		if err != nil {
			written.Add(history.Event{Op: history.Claim, Step: history.Unknown, ID: id, To: name, Err: err.Error()})
			rest(ctx, 200*time.Millisecond)
			continue
		}
		written.Add(history.Event{Op: history.Claim, Step: history.OK, ID: id, To: name, N: o.Token()})
		act(ctx, n, o, name, time.Now().Add(2*time.Second+rand.N(10*time.Second)))
		rest(ctx, rand.N(300*time.Millisecond)) // others may have it
	}
}

// act looks again and again whether the name is still its own, and has an effect now and
// then, until it has lost the name or the time is over. Who has lost it tries some more
// effects, which the sink has to judge.
func act(ctx context.Context, n *cluster.Node, o *names.Ownership, name string, until time.Time) {
	sink, err := durable.NewSink(n, sinkName)
	if err != nil {
		return
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	apply := func(i int) error {
		within, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		run := durable.Run{Owner: name, Token: o.Token(), ID: fmt.Sprintf("%s/%d/%d", name, o.Token(), i)}
		return sink.Apply(within, run, appendTo(history.NameList+name, fmt.Sprint(o.Token())))
	}
	for i := 0; ; i++ {
		select {
		case <-o.Done():
			for again := range 5 { // until the next owner has had an effect
				rest(ctx, time.Second)
				if late(name, o.Token(), apply(i+again)) {
					break
				}
			}
			return
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		from := written.Now()
		held := o.Held()
		at := written.Now()
		if held {
			written.Add(history.Event{Op: history.Act, To: name, N: o.Token(), From: from, At: at})
			if i%20 == 0 {
				_ = apply(i) // whether it was had is what the sink holds in the end
			}
		}
		if time.Now().After(until) {
			within, cancel := context.WithTimeout(ctx, 6*time.Second)
			_ = o.Release(within) // without an answer it is free when the lease ends
			cancel()
			return
		}
	}
}

// late writes down how the effect of a former owner ended, and reports whether it was
// refused.
func late(name string, token uint64, err error) bool {
	e := history.Event{Op: history.Late, Step: history.OK, To: name, N: token}
	if err != nil {
		e.Step, e.Err = history.Unknown, err.Error()
	}
	if errors.Is(err, durable.ErrStale) {
		e.Step = history.Refused
	}
	written.Add(e)
	return e.Step == history.Refused
}

func rest(ctx context.Context, d time.Duration) {
	over := time.NewTimer(d)
	defer over.Stop()
	select {
	case <-over.C:
	case <-ctx.Done():
	}
}
