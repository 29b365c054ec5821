package durable

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/records"
	"github.com/loopmesh/loopmesh/internal/testport"
	"github.com/loopmesh/loopmesh/loopnode"
)

// holdUp runs until the file "go" is there; killer kills its process. Both leave a line.
var (
	holdUp = cluster.Func("durable.holdup", func(ctx context.Context, name string) (struct{}, error) {
		folder := os.Getenv(folderVariable)
		if err := appendLine(filepath.Join(folder, "runs"), name); err != nil {
			return struct{}{}, err
		}
		for {
			if _, err := os.Stat(filepath.Join(folder, "go")); err == nil {
				return struct{}{}, nil
			}
			if err := loopnode.Sleep(ctx, 10*time.Millisecond); err != nil {
				return struct{}{}, err
			}
		}
	})
	killer = cluster.Func("durable.killer", func(_ context.Context, name string) (struct{}, error) {
		if err := appendLine(filepath.Join(os.Getenv(folderVariable), "runs"), name); err != nil {
			return struct{}{}, err
		}
		me, err := os.FindProcess(os.Getpid())
		if err != nil {
			return struct{}{}, err
		}
		return struct{}{}, me.Kill()
	})
)

// runs counts the lines of a name.
func runs(t *testing.T, folder, name string) (n int) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(folder, "runs"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if strings.TrimSpace(line) == name {
			n++
		}
	}
	return n
}

// TestWaitingIsNoAttempt: owners die one after another while a command runs and others of its
// key wait behind it. These have never run: all of their attempts are left.
func TestWaitingIsNoAttempt(t *testing.T) {
	address, folder := testport.Address(t), t.TempDir()
	spawn(t, "server", address, folder)
	owner := spawn(t, "o1", address, folder)
	n := start(t, cluster.Config{Name: "client", Join: []string{address}})
	ctx := longCtx(t)
	if err := Send(ctx, n, "mail", "first", holdUp, "first", Key("k"), Redeliver(20)); err != nil {
		t.Fatal(err)
	}
	const behind, deaths = 20, 3
	for i := range behind {
		if err := Send(ctx, n, "mail", "c"+strconv.Itoa(i), pay, "c"+strconv.Itoa(i), Key("k"), Redeliver(2)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range deaths {
		until(t, "the first one runs", func() bool { return runs(t, folder, "first") >= i+1 })
		owner.kill()
		owner.start()
	}
	if err := os.WriteFile(filepath.Join(folder, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, "no command is left", func() bool { left, err := Commands(ctx, n, "mail"); return err == nil && len(left) == 0 })
	if dead, err := DeadLetters(ctx, n, ""); len(dead) != 0 || err != nil {
		t.Errorf("%+v, %v", dead, err)
	}
	for i := range behind {
		if got := runs(t, folder, "c"+strconv.Itoa(i)); got != 1 {
			t.Errorf("c%d ran %d times", i, got)
		}
	}
}

// TestWhatKillsItsProcessIsDeadInTheEnd: and what has one attempt has one.
func TestWhatKillsItsProcessIsDeadInTheEnd(t *testing.T) {
	for _, most := range []int{1, 2} {
		t.Run(strconv.Itoa(most), func(t *testing.T) {
			address, folder := testport.Address(t), t.TempDir()
			spawn(t, "server", address, folder)
			owner := spawn(t, "o1", address, folder)
			n := start(t, cluster.Config{Name: "client", Join: []string{address}})
			ctx := longCtx(t)
			if err := Send(ctx, n, "mail", "bad", killer, "bad", Redeliver(most)); err != nil {
				t.Fatal(err)
			}
			if err := Send(ctx, n, "mail", "good", pay, "good"); err != nil {
				t.Fatal(err)
			}
			begun := 0
			until(t, "it is dead", func() bool {
				if now := runs(t, folder, "bad"); now > begun {
					begun = now
					owner.kill()
					owner.start()
				}
				dead, err := DeadLetters(ctx, n, "mail")
				return err == nil && len(dead) == 1 && strings.Contains(dead[0].Error, "died") && dead[0].Attempts == most
			})
			until(t, "its attempts are forgotten", func() bool {
				list, err := records.Of(partsOf(n)).List(ctx, heldPrefix+"*")
				return err == nil && !slices.ContainsFunc(list, func(r records.Record) bool { return strings.Contains(r.Subject, "+") })
			})
			if begun < most || begun > most+1 || most == 1 && begun != 1 {
				t.Errorf("%d attempts, and it ran %d times", most, begun)
			}
			until(t, "the other one ran", func() bool { return runs(t, folder, "good") >= 1 })
		})
	}
}
