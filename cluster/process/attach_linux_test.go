package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/clustertest"
)

// hosts is n1 to n3; n2 offers these profiles.
func hosts(t *testing.T, profiles ...Profile) *clustertest.Cluster {
	return clustertest.New(t, 3, func(name string, cfg *cluster.Config) {
		cfg.Allow = []string{"spawn:*"}
		if name == "n2" {
			cfg.Prepare = func(_ context.Context, n *cluster.Node) error { return Offer(n, profiles...) }
		}
	})
}

// TestLettingGoOnceMoreIsNotForOthers: the answer to a Detach got lost, and the owner asks
// again, when somebody else has the process already.
func TestLettingGoOnceMoreIsNotForOthers(t *testing.T) {
	c := trio(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	first, err := Start(ctx, c.Node("n1"), Command{Node: "n2", Profile: "kept"})
	if err != nil {
		t.Fatal(err)
	}
	first.Detach()
	if _, err := first.Wait(ctx); !errors.Is(err, cluster.ErrClosed) {
		t.Fatal(err)
	}
	second, err := Attach(ctx, c.Node("n3"), "n2", "kept", first.ID())
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if a, err := first.ask(ctx, request{Op: opDetach, ID: first.ID(), Key: first.key}); err != nil || !a.Kept {
		t.Error(a, err)
	}
	if third, err := Attach(ctx, c.Node("n1"), "n2", "kept", first.ID()); !errors.Is(err, cluster.ErrBusy) {
		t.Error("somebody has it:", third, err)
	}
	if err := second.Signal(ctx, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	if e, err := second.Wait(ctx); err != nil || e.Signal != int(syscall.SIGKILL) {
		t.Error(e, err)
	}
}

// TestOutputThatIsStillReadIsNotTaken: the process has ended, and its owner reads slowly.
func TestOutputThatIsStillReadIsNotTaken(t *testing.T) {
	// More than the stream takes while nobody reads, and no more than the pipe takes beside: so
	// it ends, and its output is not all sent.
	const size = 575_000
	c := hosts(t, Profile{Name: "kept", Argv: []string{"/bin/sh", "-c", fmt.Sprintf("head -c %d /dev/zero; exit 3", size)}, Orphan: Keep})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p, err := Start(ctx, c.Node("n1"), Command{Node: "n2", Profile: "kept"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	if second, err := Attach(ctx, c.Node("n3"), "n2", "kept", p.ID()); !errors.Is(err, cluster.ErrBusy) {
		t.Error("somebody reads it:", second, err)
	}
	if b, err := io.ReadAll(p.Stdout().Reader(ctx)); err != nil || len(b) != size {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	c.Eventually("its output can be had when nobody reads it any more", func() bool {
		second, err := Attach(ctx, c.Node("n3"), "n2", "kept", p.ID())
		if err == nil {
			second.Close()
		}
		return err == nil
	})
}

// TestAnOutputThatIsReadLate: many processes end after one whose output is read late.
func TestAnOutputThatIsReadLate(t *testing.T) {
	// More than the stream takes while nobody reads; the rest waits in the pipe.
	const size, write = 540672 + 50000, "head -c 540672 /dev/zero; sleep 0.3; head -c 50000 /dev/zero"
	c := hosts(t, Profile{Name: "sh", Argv: []string{"/bin/sh", "-c", "{...}"}, Words: "(?s).*", Children: 2})
	n1, host := c.Node("n1"), hostOf(c.Node("n2"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	run := func(text string) *Process {
		p, err := Start(ctx, n1, Command{Node: "n2", Profile: "sh", Words: []string{text}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		if _, err := p.Wait(ctx); err != nil {
			t.Fatal(err)
		}
		return p
	}
	late := run(write)
	for range 3 * usualChildren {
		p := run("exit 3")
		_, _ = io.ReadAll(p.Stdout().Reader(ctx))
		_, _ = io.ReadAll(p.Stderr().Reader(ctx))
	}
	begun := time.Now()
	c.Eventually("its owner has asked for it again", func() bool { return time.Since(begun) > 3*pollOutput })
	b, err := io.ReadAll(late.Stdout().Reader(ctx))
	if err != nil || string(b) != strings.Repeat("\x00", size) {
		t.Errorf("%d of %d bytes, %v", len(b), size, err)
	}
	for range 3 * usualChildren {
		run(write) // nobody ever reads it
	}
	c.Eventually("no more are kept than may", func() bool { return host.open.Load() <= 2*usualChildren })
}
