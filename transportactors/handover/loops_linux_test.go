package handover

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

// otherLoop runs a loop for as long as the test.
func otherLoop(t *testing.T) *loopnode.Loop {
	t.Helper()
	l, err := loopnode.New(loopnode.Config{Logger: hclog.NewNullLogger()})
	must(t, err)
	ended := make(chan error, 1)
	go func() { ended <- l.RunForever() }()
	t.Cleanup(func() {
		must(t, l.Ref().CallSoonThreadsafe(l.Stop))
		must(t, <-ended)
		must(t, l.Close())
	})
	return l
}

// TestServersOfOtherLoops: the sockets of a server that lives on another loop are given, as text,
// too; while that loop is stuck, who asks is refused and the server goes on.
func TestServersOfOtherLoops(t *testing.T) {
	path := filepath.Join(t.TempDir(), "handover")
	other := otherLoop(t)
	inLoop(t, func(ctx context.Context) error {
		old, err := loopnode.WrapFuture(ctx, loopnode.RunCoroutineThreadsafe(other.Ref(), "serve", func(ctx context.Context) (*transportactors.Server, error) {
			return transportactors.CreateServer(ctx, func() *greeter { return &greeter{text: "old"} }, "tcp", "127.0.0.1:0")
		})).Await(ctx)
		must(t, err)
		at := old.Addrs()[0]
		offer, err := Open(ctx, path, map[string]*transportactors.Server{"clients": old})
		must(t, err)
		offer.copying = 50 * time.Millisecond
		release := make(chan struct{})
		must(t, other.Ref().CallSoonThreadsafe(func() { <-release }))
		if _, err := Inherit(ctx, path); !errors.Is(err, loopnode.ErrBusy) || !strings.Contains(err.Error(), "cannot be copied") {
			t.Errorf("a loop that is stuck: %v", err)
		}
		close(release)
		offer.copying = copyLimit
		must(t, wants(ctx, at, "old"))
		in, err := Inherit(ctx, path)
		must(t, err)
		defer in.Close()
		for _, address := range []string{"127.0.0.1:1", "127.0.0.2:0", "[::1]:0"} {
			if got := in.At("clients", address); got != address {
				t.Errorf("for %s it is to listen at %s", address, got)
			}
		}
		text := in.At("clients", at.String())
		if again := in.At("clients", at.String()); !strings.HasPrefix(text, "fd://:") || again != at.String() {
			t.Errorf("it is to listen at %q, and then at %q", text, again)
		}
		network, address, socket, err := At("tcp", text)
		must(t, err)
		next, err := transportactors.CreateServer(ctx, func() *greeter { return &greeter{text: "new"} }, network, address, socket)
		must(t, err)
		must(t, in.Serving(ctx))
		must(t, other.Ref().CallSoonThreadsafe(old.Close))
		must(t, loopnode.Sleep(ctx, 0))
		_, err = loopnode.WrapFuture(ctx, loopnode.RunCoroutineThreadsafe(other.Ref(), "closed", func(context.Context) (int, error) { return 0, nil })).Await(ctx)
		must(t, err)
		must(t, wants(ctx, at, "new"))
		next.Close()
		return next.WaitClosed(ctx)
	})
}

// TestNumbersThatAreNoSocket: an address that names what is no listening socket closes nothing.
func TestNumbersThatAreNoSocket(t *testing.T) {
	f, err := os.Open(os.DevNull)
	must(t, err)
	defer f.Close()
	for _, number := range []string{"", "x", "-1", "0", "1", "99999", "99999999999999999999", fmt.Sprint(f.Fd())} {
		if _, _, _, err := At("tcp", "fd://:"+number); !errors.Is(err, loopnode.ErrInvalidArgument) {
			t.Errorf("fd://:%s: %v", number, err)
		}
	}
	if _, err := f.Stat(); err != nil {
		t.Error("it closed a file:", err)
	}
}
