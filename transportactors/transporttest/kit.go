// Package transporttest checks that a stream transport keeps the contract of
// transportactors.Transport. Run does, given a way to make connected pairs:
// whoever makes a new kind of transport calls it in a test.
//
// Besides what a check asks for, every protocol of the kit watches its own
// calls in every check: made first, lost once and last, one call at a time, no
// bytes while paused or after Close, pauses and resumptions in turn.
package transporttest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

// Kind is a kind of transport under test.
type Kind struct {
	// Pair connects here to there. It runs in a task and may return before
	// their ConnectionMade. What it makes besides the two transports it ends.
	Pair func(ctx context.Context, here, there transportactors.Protocol) error
	// OneWay: bytes go from here to there only, as in a pipe.
	OneWay bool
	// HalfClose: one direction can end while the other goes on.
	HalfClose bool
	// Goodbye: the end is a conversation, as in TLS. Who closes hears the end of
	// the input, too, and cannot say last words.
	Goodbye bool
	// Room is more bytes than the system keeps of a connection between its
	// ends, so that the rest waits in the transport. 0 is 16 MiB, enough for TCP.
	Room int
}

// patience bounds one check.
const patience = 30 * time.Second

// check is one thing that must hold.
type check struct {
	name string
	need func(Kind) bool // nil: every kind
	run  func(ctx context.Context, e *env) error
}

func bothWays(k Kind) bool   { return !k.OneWay }
func halfCloses(k Kind) bool { return k.HalfClose && !k.OneWay }
func hasTheWord(k Kind) bool { return !k.Goodbye }
func endsOutput(k Kind) bool { return k.HalfClose || k.OneWay }

// Run runs every check that applies to k as a subtest.
func Run(t *testing.T, k Kind) {
	for _, list := range [][]check{orderChecks, writeChecks, readChecks, endChecks, protocolChecks, modelChecks} {
		for _, c := range list {
			if c.need == nil || c.need(k) {
				t.Run(c.name, func(t *testing.T) { inLoop(t, k, c.run) })
			}
		}
	}
}

// env is one check at work. Owned by the loop goroutine.
type env struct {
	kind   Kind
	much   int // bytes that do not fit into the kernel
	loop   *loopnode.Loop
	probes []*probe
	told   []loopnode.ExceptionContext // what the exception handler heard
}

func inLoop(t *testing.T, k Kind, run func(context.Context, *env) error) {
	t.Helper()
	e := &env{kind: k, much: cmp.Or(k.Room, 16<<20)}
	pool := loopnode.NewPool(2)
	l, err := loopnode.New(loopnode.Config{
		Logger: hclog.NewNullLogger(), Executor: pool,
		ExceptionHandler: func(_ *loopnode.Loop, ec loopnode.ExceptionContext) { e.told = append(e.told, ec) },
	})
	if err != nil {
		t.Fatal(err)
	}
	e.loop = l
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	_, err = loopnode.RunUntilComplete(l, loopnode.CreateTask(l.Context(ctx), "check", func(ctx context.Context) (int, error) {
		return 0, errors.Join(run(ctx, e), e.end(ctx))
	}))
	if err = errors.Join(err, pool.Shutdown(ctx), l.Close()); err != nil {
		t.Fatal(err)
	}
}

// end ends what the check left and adds up what its protocols saw.
func (e *env) end(ctx context.Context) (err error) {
	for _, p := range e.probes {
		if p.t != nil && !p.ended {
			p.t.SetProtocol(p.self)
			p.abort()
		}
	}
	for _, p := range e.probes {
		if p.t != nil && p.logged("made") {
			err = errors.Join(err, until(ctx, "the loss", func() bool { return p.ended }))
		}
		for _, w := range p.wrong {
			err = errors.Join(err, errors.New(w))
		}
	}
	return err
}

// pair is a connection between two probes that both know their transport.
func (e *env) pair(ctx context.Context) (here, there *probe, err error) {
	here, there = e.probe("here"), e.probe("there")
	return here, there, e.connect(ctx, here, there)
}

// connect connects two protocols and waits until both are told.
func (e *env) connect(ctx context.Context, here, there *probe) error {
	if err := e.kind.Pair(ctx, here.self, there.self); err != nil {
		return fmt.Errorf("making a pair: %w", err)
	}
	return until(ctx, "ConnectionMade", func() bool { return here.t != nil && there.t != nil })
}

// until lets turns pass until cond holds.
func until(ctx context.Context, what string, cond func() bool) error {
	for !cond() {
		if err := loopnode.Sleep(ctx, 0); err != nil {
			return fmt.Errorf("waiting for %s: %w", what, err)
		}
	}
	return nil
}

// turns lets n turns pass.
func turns(ctx context.Context, n int) error {
	for range n {
		if err := loopnode.Sleep(ctx, 0); err != nil {
			return err
		}
	}
	return nil
}

// table is what patterns repeat. Its length is prime, so that no piece of a
// stream looks like its neighbour.
var table = func() []byte {
	b := make([]byte, 65521)
	for i := range b {
		b[i] = byte(i ^ i>>8)
	}
	return b
}()

// pattern is n bytes that tell where they are, beginning at from.
func pattern(from, n int) []byte {
	b := make([]byte, n)
	for at := 0; at < n; {
		at += copy(b[at:], table[(from+at)%len(table):])
	}
	return b
}
