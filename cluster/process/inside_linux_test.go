package process

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/clustertest"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
)

// trio is n1 to n3; n2 offers a profile that hangs, with either policy.
func trio(t *testing.T) *clustertest.Cluster {
	return clustertest.New(t, 3, func(name string, cfg *cluster.Config) {
		cfg.Allow = []string{"spawn:*"}
		if name == "n2" {
			cfg.Prepare = func(_ context.Context, n *cluster.Node) error {
				hang := Profile{Name: "hang", Argv: []string{"/bin/sh", "-c", "echo ready; exec sleep 1000"}, Grace: 100 * time.Millisecond}
				kept := hang
				kept.Name, kept.Orphan = "kept", Keep
				return Offer(n, hang, kept)
			}
		}
	})
}

func partsOf(n *cluster.Node) *inside.Parts { return n.Inside(inside.Key{}) }

// TestAnOwnerThatDoesNotAsk: its answer was lost, or its program has forgotten the process.
// Membership sees nothing of that; the lease ends it.
func TestAnOwnerThatDoesNotAsk(t *testing.T) {
	c := trio(t)
	n1, n2 := c.Node("n1"), c.Node("n2")
	hostOf(n2).lease.Store(int64(2 * time.Second)) // by then the one that asks has asked, on a busy machine, too
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p, err := Start(ctx, n1, Command{Node: "n2", Profile: "hang"}) // one that asks
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ref, err := n1.Ref("n2/" + LoopName)
	if err != nil {
		t.Fatal(err)
	}
	pids := map[string]int{}
	for _, profile := range []string{"hang", "kept"} {
		for i := range 2 {
			if _, err := partsOf(n1).Expect(outputPath(profile, i+1), "n2", &inlet{}); err != nil {
				t.Fatal(err)
			}
		}
		q, _ := json.Marshal(request{Op: opStart, Key: profile}) // it has no value that cannot be written
		text, err := n1.CallJSON(ctx, ref, "loopmesh.spawn."+profile, q)
		var a answer
		if err == nil {
			err = json.Unmarshal(text, &a)
		}
		if err != nil {
			t.Fatal(err)
		}
		pids[profile] = a.PID
	}
	c.Eventually("the one without an owner has ended", func() bool { return errors.Is(syscall.Kill(pids["hang"], 0), syscall.ESRCH) })
	// The kernel forgets a process before its node has counted its end.
	c.Eventually("its end is counted, and no other one", func() bool { s := Counted(n2); return s.Running == 2 && s.Ended == 1 })
	if syscall.Kill(pids["kept"], 0) != nil || syscall.Kill(p.PID(), 0) != nil {
		t.Error("one that is kept, or asked for, has ended")
	}
}

// TestAStreamIsForTheNodeThatIsExpected, once, and for nobody else, whatever its rights are.
func TestAStreamIsForTheNodeThatIsExpected(t *testing.T) {
	c := trio(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	n1 := c.Node("n1")
	to := actors.Address{Node: "n1", Path: "$stdio/test/1"}
	in := &inlet{}
	if _, err := partsOf(n1).Expect(to.Path, "n2", in); err != nil {
		t.Fatal(err)
	}
	if _, err := partsOf(n1).Expect(to.Path, "n3", in); !errors.Is(err, cluster.ErrConfig) {
		t.Error("a path that is taken:", err)
	}
	for _, name := range []string{"n3", "n1"} {
		if _, err := partsOf(c.Node(name)).Open(ctx, to); !errors.Is(err, cluster.ErrUnknownTransport) {
			t.Error(name, err)
		}
	}
	s, err := partsOf(c.Node("n2")).Open(ctx, to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := partsOf(c.Node("n2")).Open(ctx, to); !errors.Is(err, cluster.ErrUnknownTransport) {
		t.Error("a second time:", err)
	}
	if err := s.Write([]byte("hello")); err != nil {
		t.Error(err)
	}
	got := make([]byte, 16)
	if n, err := (&Output{in}).Read(ctx, got); string(got[:n]) != "hello" || err != nil {
		t.Errorf("%q, %v", got[:n], err)
	}
	stop, err := partsOf(n1).Expect("$stdio/test/2", "n2", in)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	to.Path = "$stdio/test/2"
	if _, err := partsOf(c.Node("n2")).Open(ctx, to); !errors.Is(err, cluster.ErrUnknownTransport) {
		t.Error("taken back:", err)
	}
	if n := n1.Stats().NoRight; n != 0 {
		t.Errorf("%d frames were refused", n)
	}
	c.Crash("n2") // nobody but membership could tell
	if _, err := (&Output{in}).Read(ctx, got); !errors.Is(err, cluster.ErrNodeDown) {
		t.Error("after the end of its node:", err)
	}
}

// TestAPartOfStdinIsLost while the owner lives: its stream is broken, and nothing else.
func TestAPartOfStdinIsLost(t *testing.T) {
	c := trio(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	file := t.TempDir() + "/file"
	save := Profile{Name: "save", Argv: []string{"/bin/sh", "-c", "cat > $1.new && mv $1.new $1", "sh", "{...}"}}
	if err := Offer(c.Node("n2"), save); err != nil {
		t.Fatal(err)
	}
	p, err := Start(ctx, c.Node("n1"), Command{Node: "n2", Profile: "save", Words: []string{file}})
	if err == nil {
		err = p.Write(ctx, []byte("the beginning"))
	}
	if err != nil {
		t.Fatal(err)
	}
	c.Eventually("it has the beginning", func() bool { b, _ := os.ReadFile(file + ".new"); return len(b) > 0 })
	p.stdin.Abort()
	if exit, err := p.Wait(ctx); !errors.Is(err, ErrEnded) || !strings.Contains(exit.Why, "stdin") {
		t.Errorf("%+v, %v", exit, err)
	}
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Error("it took a part for all:", err)
	}
}

// TestSpool compares it with the end of everything that ever came.
func TestSpool(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		s := spool{most: r.IntN(100)}
		var all []byte
		for range 100 {
			p := bytes.Repeat([]byte{byte('a' + r.IntN(26))}, r.IntN(2*s.most+2))
			for i := range p {
				p[i] += byte(i % 3)
			}
			s.add(p)
			all = append(all, p...)
			kept, missed := s.all()
			want := all[max(0, len(all)-s.most):]
			if !bytes.Equal(kept, want) || missed != uint64(len(all)-len(want)) {
				t.Fatalf("seed %d: %q of %d after %d", seed, kept, missed, len(all))
			}
		}
	}
}

// FuzzArguments: whatever a caller gives, each element of the child's argument list is the
// profile's own or one whole value that its pattern takes.
func FuzzArguments(f *testing.F) {
	p, err := Profile{
		Name: "p", Argv: []string{"/bin/echo", "-x", "{a}", "b={b}", "{...}"},
		Args: map[string]string{"b": "[a-z]{1,3}|{a}"}, Words: "[0-9]+",
	}.check()
	if err != nil {
		f.Fatal(err)
	}
	f.Add("x", "abc", "12", "7")
	f.Add("-x", "{a}", "12 ", "")
	f.Add("a\nb", "abc\n", "$(id)", "1")
	f.Fuzz(func(t *testing.T, a, b, one, two string) {
		argv, err := p.argv(map[string]string{"a": a, "b": b}, []string{one, two})
		if err != nil {
			if !errors.Is(err, ErrArguments) {
				t.Fatal(err)
			}
			return
		}
		if want := []string{"/bin/echo", "-x", a, "b=" + b, one, two}; fmt.Sprintf("%q", argv) != fmt.Sprintf("%q", want) {
			t.Errorf("%q, want %q", argv, want)
		}
		if a == "" || strings.HasPrefix(a, "-") || strings.ContainsAny(a+b+one+two, "\x00\n") || strings.Trim(one+two, "0123456789") != "" {
			t.Errorf("%q was let through", argv)
		}
	})
}
