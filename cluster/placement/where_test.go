package placement

import (
	"errors"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/names"
)

// TestWhereFollowsTheInstance: it tells the owner that package names knows, while nobody runs
// the instance no node, and after the end of its node the next one with a higher token.
func TestWhereFollowsTheInstance(t *testing.T) {
	store, nodes := stored(t, 2)
	ctx := testCtx(t)
	if _, err := Where(ctx, store, "shard", "x"); !errors.Is(err, ErrNotWanted) {
		t.Error(err)
	}
	if err := Want(ctx, store, "shard", "x"); err != nil {
		t.Fatal(err)
	}
	if p, err := Where(ctx, store, "shard", "x"); err != nil || p.State != Wanted || p.Node != "" || p.Token != 0 || !p.Since.IsZero() {
		t.Errorf("nobody serves its kind: %+v %v", p, err)
	}
	begun := time.Now()
	b := newBoard(t)
	for _, n := range nodes {
		serving(t, n, b.kind(n.Name()))
	}
	where := func() (p Placement) {
		t.Helper()
		until(t, "it runs", func() (runs bool) {
			var err error
			if p, err = Where(ctx, store, "shard", "x"); err != nil {
				t.Fatal(err)
			}
			return p.Node != ""
		})
		return p
	}
	first := where()
	owner, err := names.Resolve(ctx, store, "placement/shard/x")
	if err != nil || first.Node != owner.Node || first.Loop != owner.Loop || first.Token != owner.Token || !first.Since.Equal(owner.Since) {
		t.Errorf("%+v, its name is owned by %+v %v", first, owner, err)
	}
	if first.Loop == "" || first.Since.Before(begun.Add(-time.Second)) || first.Since.After(time.Now().Add(time.Second)) {
		t.Errorf("%+v", first)
	}
	for _, n := range nodes {
		if n.Name() == first.Node {
			n.Close()
		}
	}
	var second Placement
	until(t, "another node runs it", func() bool { second = where(); return second.Node != first.Node })
	if second.Token <= first.Token || second.Since.Before(first.Since) {
		t.Errorf("%+v after %+v", second, first)
	}
	if list, err := List(ctx, store); err != nil || len(list) != 1 || list[0].Node != second.Node || list[0].Token != second.Token || list[0].Loop != second.Loop {
		t.Errorf("%+v %v", list, err)
	}
	if err := Drop(ctx, store, "shard", "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := Where(ctx, store, "shard", "x"); !errors.Is(err, ErrNotWanted) {
		t.Error(err)
	}
}

// TestWhereRefuses what can be no instance, and a question without a ctx or a node.
func TestWhereRefuses(t *testing.T) {
	store, _ := stored(t, 0)
	for _, c := range [][2]string{{"", "x"}, {"a", ""}, {"a/b", "x"}, {"a", "\x1b"}} {
		if _, err := Where(testCtx(t), store, c[0], c[1]); !errors.Is(err, ErrBadName) {
			t.Errorf("%q: %v", c, err)
		}
	}
	if _, err := Where(testCtx(t), nil, "shard", "x"); !errors.Is(err, cluster.ErrConfig) {
		t.Error(err)
	}
}
