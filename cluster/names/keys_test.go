package names

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/keys"
	"github.com/loopmesh/loopmesh/loopnode"
)

// TestNamesWithKeys: nodes whose keys give them no right on others own names all the
// same, and a node without a store may be the first to ask for one.
func TestNamesWithKeys(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	if err := keys.Init(dir, "shop", keys.Node{Name: "a", Voter: true, Hosts: []string{"127.0.0.1"}}, keys.Node{Name: "b", Grants: []string{"none"}}, keys.Node{Name: "c"}); err != nil {
		t.Fatal(err)
	}
	a := start(t, cluster.Config{Name: "a", Keys: dir, StoreDir: t.TempDir(), Listen: "127.0.0.1:0"})
	at := []string{strings.TrimPrefix(a.URL(), "nats://")}
	b := start(t, cluster.Config{Name: "b", Keys: dir, Join: at})
	c := start(t, cluster.Config{Name: "c", Keys: dir, Join: at})
	mine := mustClaim(t, b, "orders")
	for _, n := range []*cluster.Node{a, c} {
		if o, err := Resolve(testCtx(t), n, "orders"); err != nil || o.Node != "b" || o.Token != mine.Token() {
			t.Errorf("%s resolves %+v, %v", n.Name(), o, err)
		}
	}
	if err := mine.Release(testCtx(t)); err != nil {
		t.Fatal(err)
	}
	if next := mustClaim(t, c, "orders"); next.Token() <= mine.Token() {
		t.Error("the next token is not higher:", next.Token(), mine.Token())
	}
	if list, err := List(testCtx(t), a); err != nil || len(list) != 1 || list[0].Node != "c" {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestOnlyVotersAndAdminsMakeStreams: what is durable lies where a voter or an admin has
// made a place for it. Another node that is first waits, as long as its ctx allows.
func TestOnlyVotersAndAdminsMakeStreams(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	if err := keys.Init(dir, "shop", keys.Node{Name: "a"}, keys.Node{Name: "b"}, keys.Node{Name: "c", Grants: []string{"admin"}}); err != nil {
		t.Fatal(err)
	}
	a := start(t, cluster.Config{Name: "a", Keys: dir, StoreDir: t.TempDir(), Listen: "127.0.0.1:0"})
	at := []string{strings.TrimPrefix(a.URL(), "nats://")}
	b := start(t, cluster.Config{Name: "b", Keys: dir, Join: at})
	for _, n := range []*cluster.Node{a, b} {
		short, cancel := context.WithTimeout(testCtx(t), 3*time.Second) // within the limit of an operation, and several attempts
		_, err := Resolve(short, n, "orders")
		cancel()
		wantIs(t, err, cluster.ErrNoJetStream, "shop-LOOPS", "--voter", "admin")
		wantIs(t, err, context.DeadlineExceeded)
	}
	_, err := Resolve(testCtx(t), b, "orders") // within the limit of an operation
	wantIs(t, err, cluster.ErrNoJetStream, "shop-LOOPS")
	claimed := make(chan error, 1)
	go func() {
		_, err := Claim(testCtx(t), b, "orders", loopnode.Ref{})
		claimed <- err
	}()
	c := start(t, cluster.Config{Name: "c", Keys: dir, Join: at})
	if _, err := List(testCtx(t), c); err != nil {
		t.Error("an admin may make streams:", err)
	}
	if err := <-claimed; err != nil {
		t.Error("a claim that waits for the stream:", err)
	}
}
