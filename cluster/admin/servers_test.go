package admin

import (
	"context"
	"slices"
	"testing"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

// listenOn opens count servers on a loop of a node and returns their addresses.
func listenOn(t *testing.T, node *cluster.Node, loop string, count int) (addrs []string) {
	t.Helper()
	ref, _ := node.Loop(loop)
	opened := loopnode.RunCoroutineThreadsafe(ref, "listen", func(ctx context.Context) (struct{}, error) {
		for range count {
			s, err := transportactors.StartServer(ctx, func(context.Context, *transportactors.Stream) error { return nil }, "tcp", "127.0.0.1:0")
			if err != nil {
				return struct{}{}, err
			}
			addrs = append(addrs, s.Addrs()[0].String())
		}
		return struct{}{}, nil
	})
	if _, err := opened.Wait(testCtx(t)); err != nil {
		t.Fatal(err)
	}
	return addrs
}

// TestTheIDOfAServerIsItsOwn: when one of three servers has ended, the ids that a person
// saw before still mean the same servers, and no new one has an id of an old one.
func TestTheIDOfAServerIsItsOwn(t *testing.T) {
	s, _ := pair(t)
	if _, err := s.node.NewLoop("io-9"); err != nil {
		t.Fatal(err)
	}
	listed := func() map[string]string { // id to address
		list, _ := request[List[Listener]](t, s, "GET", "/api/v1/servers")
		out := map[string]string{}
		for _, l := range list.Items {
			if l.Loop == "io-9" {
				out[l.ID] = l.Addresses[0]
			}
		}
		return out
	}
	closeIt := func(id string) int {
		_, code := request[Done](t, s, "POST", "/api/v1/servers/close?id="+id)
		return code
	}
	addrs := listenOn(t, s.node, "io-9", 3)
	before := listed()
	ids := make([]string, len(addrs)) // in the order of addrs
	for id, addr := range before {
		ids[slices.Index(addrs, addr)] = id
	}
	if len(before) != 3 || slices.Contains(ids, "") {
		t.Fatalf("%v, %v", before, addrs)
	}
	for i, want := range []int{200, 404} {
		if code := closeIt(ids[0]); code != want {
			t.Errorf("closing the first one, %d: %d, want %d", i+1, code, want)
		}
	}
	if now := listed(); len(now) != 2 || now[ids[1]] != addrs[1] || now[ids[2]] != addrs[2] {
		t.Errorf("the other two have changed: %v, before %v", now, before)
	}
	if code := closeIt(ids[1]); code != 200 {
		t.Errorf("closing the second one by its old id: %d", code)
	}
	if now := listed(); len(now) != 1 || now[ids[2]] != addrs[2] {
		t.Errorf("another server was closed: %v, before %v", now, before)
	}
	if code := closeIt(ids[2]); code != 200 {
		t.Errorf("closing the third one: %d", code)
	}
	listenOn(t, s.node, "io-9", 1)
	for id := range listed() {
		if slices.Contains(ids, id) {
			t.Errorf("the id %s was used before", id)
		}
	}
}
