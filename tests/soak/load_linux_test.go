package soak

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/durable"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
	"github.com/loopmesh/loopmesh/transportactors/subprocess"
)

// load is the work of the process that runs the test.
type load struct {
	node *cluster.Node
	ref  loopnode.Ref // the loop of its connections, children and timers

	mu    sync.Mutex
	done  map[string]uint64
	took  []time.Duration // calls since they were last looked at
	wrong []string
	sent  uint64 // commands and calls for later that were accepted

	leaked sync.WaitGroup // the planted leak
	end    chan struct{}
}

func (l *load) did(kind string, n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done[kind] += n
}

// fault writes down what must not have failed; a few of them are enough.
func (l *load) fault(what string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.wrong) < 20 {
		l.wrong = append(l.wrong, fmt.Sprintf("%s failed: %v", what, err))
	}
}

// slow is the 99th percentile of the calls since the last time, in milliseconds.
func (l *load) slow() (float64, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.took) == 0 {
		return 0, false
	}
	slices.Sort(l.took)
	d := l.took[len(l.took)*99/100]
	l.took = l.took[:0]
	return float64(d) / float64(time.Millisecond), true
}

// onLoop does the work of the loop until ctx is done.
func (l *load) onLoop(ctx context.Context, server, client *tls.Config) error {
	plain, err := transportactors.StartServer(ctx, sendBack, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer plain.Close()
	secret, err := transportactors.StartServer(ctx, sendBack, "tcp", "127.0.0.1:0", transportactors.WithTLS(server))
	if err != nil {
		return err
	}
	defer secret.Close()
	loop, err := loopnode.Running(ctx)
	if err != nil {
		return err
	}
	return loopnode.WithTaskGroup(ctx, func(_ context.Context, g *loopnode.TaskGroup) error {
		l.tasks(loop, plain, secret, client, func(name string, rest time.Duration, do func(ctx context.Context) error) {
			g.Go(name, func(ctx context.Context) error { return l.again(ctx, name, rest, do) })
		})
		return nil // the end is a cancellation
	})
}

// again does one kind of work in a task, until it is cancelled.
func (l *load) again(ctx context.Context, name string, rest time.Duration, do func(ctx context.Context) error) error {
	for {
		err := do(ctx)
		switch {
		case err == nil:
			l.did(name, 1)
		case errors.Is(err, loopnode.ErrCancelled): // it is told once
			return err
		default:
			l.fault(name, err)
		}
		if err := loopnode.Sleep(ctx, rest); err != nil {
			return err
		}
	}
}

// tasks starts those of the loop.
func (l *load) tasks(loop *loopnode.Loop, plain, secret *transportactors.Server, client *tls.Config, again func(name string, rest time.Duration, do func(ctx context.Context) error)) {
	for range 4 {
		again("connections", 50*time.Millisecond, func(ctx context.Context) error { return talk(ctx, plain) })
	}
	for range 2 {
		again("TLS connections", 100*time.Millisecond, func(ctx context.Context) error {
			return talk(ctx, secret, transportactors.WithTLS(client))
		})
	}
	again("children", 200*time.Millisecond, child)
	again("children", 200*time.Millisecond, killedChild)
	again("rounds of timers", 20*time.Millisecond, func(context.Context) error {
		for i := range 20 { // every second one is cancelled
			h := loop.CallLater(rand.N(2*time.Second), func() { l.did("timers", 1) })
			if i%2 == 0 {
				loop.CallLater(rand.N(time.Second), h.Cancel)
			}
		}
		return nil
	})
}

func sendBack(_ context.Context, s *transportactors.Stream) error {
	_, err := io.Copy(s, s)
	return err
}

// talk opens a connection, sends some pieces, compares what comes back and closes it.
func talk(ctx context.Context, s *transportactors.Server, opts ...transportactors.ConnectOption) error {
	c, err := transportactors.OpenConnection(ctx, "tcp", s.Addrs()[0].String(), opts...)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // what was sent has come back, or an error is told
	piece := []byte(strings.Repeat("0123456789abcdef", 64))
	for range 20 {
		if _, err := c.Write(piece); err != nil {
			return err
		}
		got := make([]byte, len(piece))
		if _, err := io.ReadFull(c, got); err != nil {
			return err
		}
		if !slices.Equal(got, piece) {
			return errors.New("other bytes come back")
		}
	}
	return nil
}

// child runs a program to its end.
func child(ctx context.Context) error {
	p, err := subprocess.ExecProcess(ctx, []string{"cat"}, subprocess.WithStdin(subprocess.Pipe), subprocess.WithStdout(subprocess.Pipe))
	if err != nil {
		return err
	}
	defer p.Close()
	out, _, err := p.Communicate(ctx, []byte("to and fro"))
	if err == nil && string(out) != "to and fro" {
		err = fmt.Errorf("cat says %q", out)
	}
	return err
}

// killedChild kills one that would not end by itself.
func killedChild(ctx context.Context) error {
	p, err := subprocess.ExecProcess(ctx, []string{"sleep", "1000"})
	if err != nil {
		return err
	}
	defer p.Close()
	if err := p.Kill(); err != nil {
		return err
	}
	if code, err := p.Wait(ctx); err != nil || code != -9 {
		return fmt.Errorf("it was killed, and ended with %d: %w", code, err)
	}
	return nil
}

// forever does one kind of work of the cluster until ctx is done.
func (l *load) forever(ctx context.Context, kind string, rest time.Duration, do func(ctx context.Context, i int) error) {
	tick := time.NewTicker(rest)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		within, cancel := context.WithTimeout(ctx, 20*time.Second)
		err := do(within, i)
		cancel()
		if err == nil {
			l.did(kind, 1)
		} else if ctx.Err() == nil {
			l.fault(kind, err)
		}
	}
}

// call asks the node that nobody disturbs, and notes how long that took.
func (l *load) call(ctx context.Context, i int) error {
	ref, err := l.node.Ref("stay/" + address)
	if err != nil {
		return err
	}
	if *leak && i%2 == 0 {
		l.leaked.Go(func() { <-l.end })
	}
	text, begun := fmt.Sprint(i), time.Now()
	got, err := echo.Via(l.node).Call(ctx, ref, text)
	if err == nil && got != text {
		err = fmt.Errorf("%q is answered by %q", text, got)
	}
	l.mu.Lock()
	l.took = append(l.took, time.Since(begun))
	l.mu.Unlock()
	return err
}

// disturbed asks the node that is killed: any end will do, as long as there is one.
func (l *load) disturbed(ctx context.Context, i int) error {
	ref, err := l.node.Ref("fall/" + address)
	if err != nil {
		return nil // it is down
	}
	if i%2 == 0 {
		_ = echo.Via(l.node).CallSoon(ctx, ref, "soon")
		return nil
	}
	if _, err := echo.Via(l.node).Call(ctx, ref, "now"); errors.Is(err, context.DeadlineExceeded) {
		return err // a dead node is told of long before
	}
	return nil
}

func (l *load) cast(ctx context.Context, _ int) error {
	ref, err := l.node.Ref("stay/" + address)
	if err != nil {
		return err
	}
	return echo.Via(l.node).CallSoon(ctx, ref, "soon")
}

// command and later hand durable work over; ids are of one run.
func (l *load) command(ctx context.Context, i int) error {
	err := durable.Send(ctx, l.node, queue, fmt.Sprintf("c-%d", i), work, "", durable.Redeliver(1000))
	return l.accepted(err)
}

func (l *load) later(ctx context.Context, i int) error {
	err := durable.CallLater(ctx, l.node, fmt.Sprintf("t-%d", i), work, "", rand.N(2*time.Second), durable.Group(group), durable.Attempts(1000))
	return l.accepted(err)
}

func (l *load) accepted(err error) error {
	if err == nil {
		l.mu.Lock()
		l.sent++
		l.mu.Unlock()
	}
	return err
}

// inCluster does the work of the cluster until ctx is done.
func (l *load) inCluster(ctx context.Context) {
	var all sync.WaitGroup
	defer all.Wait()
	for _, w := range []struct {
		kind  string
		times int
		rest  time.Duration
		do    func(context.Context, int) error
	}{
		{"calls", 4, 10 * time.Millisecond, l.call}, {"casts", 1, 20 * time.Millisecond, l.cast}, {"disturbed calls", 2, 20 * time.Millisecond, l.disturbed},
		{"commands", 1, 250 * time.Millisecond, l.command}, {"calls for later", 1, 500 * time.Millisecond, l.later},
	} {
		for range w.times {
			all.Go(func() { l.forever(ctx, w.kind, w.rest, w.do) })
		}
	}
}
