package durable

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/internal/inside"
	"github.com/loopmesh/loopmesh/cluster/internal/records"
	"github.com/loopmesh/loopmesh/cluster/keys"
)

// TestWithKeys: the statement of a node allows what durable work takes, and no more.
func TestWithKeys(t *testing.T) {
	dir := t.TempDir()
	if err := keys.Init(dir, "shop", keys.Node{Name: "a", Voter: true}); err != nil {
		t.Fatal(err)
	}
	if err := keys.Add(dir, keys.Node{Name: "b"}); err != nil {
		t.Fatal(err)
	}
	a := start(t, cluster.Config{Name: "a", StoreDir: t.TempDir(), Listen: "127.0.0.1:0", Keys: dir})
	b := start(t, cluster.Config{Name: "b", Join: []string{strings.TrimPrefix(a.URL(), "nats://")}, Keys: dir})
	ctx, key := testCtx(t), t.Name()
	ref := newLoop(t, b)
	s, err := Serve(b, DefaultGroup, ref)
	if err != nil {
		t.Fatal(err)
	}
	w := working(t, b, "q", ref)
	if err := CallLater(ctx, a, "one", note, key, 0); err != nil {
		t.Fatal(err)
	}
	if err := Send(ctx, b, "q", "two", note, key); err != nil {
		t.Fatal(err)
	}
	until(t, "both ran", func() bool { return s.Stats().Ran == 1 && w.Stats().Ran == 1 })
	if err := Send(ctx, b, "q", "bad", hopeless, key, Redeliver(1)); err != nil {
		t.Fatal(err)
	}
	until(t, "it is dead", func() bool { d, err := DeadLetters(ctx, b, ""); return err == nil && len(d) == 1 })
	if err := Requeue(ctx, b, "q", "bad"); err != nil {
		t.Error(err)
	}
	bank, err := NewSink(b, "bank")
	if err == nil {
		err = bank.Apply(ctx, by(1, "one"), add("sum"))
	}
	if err != nil {
		t.Error(err)
	}
	if err := Cancel(ctx, b, DefaultGroup, "nobody"); err == nil {
		t.Error("cancel of nothing")
	}

	short, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_, err = records.Of(b.Inside(inside.Key{})).Put(short, "lease.a", []byte("forged"), 0, 0)
	wantIs(t, err, cluster.ErrDenied, "lease.a")
	js, stream, err := records.Of(b.Inside(inside.Key{})).Stream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	short, cancel = context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := js.DeleteStream(short, stream); err == nil {
		t.Error("a node may delete the stream")
	}
}
