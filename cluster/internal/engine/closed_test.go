package engine

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/loopmesh/loopmesh/cluster/internal/subject"
	"github.com/loopmesh/loopmesh/cluster/keys"
)

func copyDir(t testing.TB, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"node.pem", "node.creds"} {
		if err := os.Chmod(filepath.Join(to, secret), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// closedPair is a closed server at node a, with node b joined; c has keys as well.
func closedPair(t testing.TB) (dir string, a, b *Engine) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "keys")
	if err := keys.Init(dir, "shop", keys.Node{Name: "a", Voter: true}, keys.Node{Name: "b"}, keys.Node{Name: "c"}); err != nil {
		t.Fatal(err)
	}
	a = opened(t, Config{Node: "a", Listen: "127.0.0.1:0", Keys: dir})
	b = opened(t, Config{Node: "b", Join: []string{at(a)}, Keys: dir})
	return dir, a, b
}

func TestStrangersDoNotGetIn(t *testing.T) {
	dir, a, _ := closedPair(t)
	_, err := attempt(t, Config{Node: "x", Join: []string{at(a)}})
	wantIs(t, err, ErrDenied)
	if _, err := nats.Connect(at(a)); err == nil {
		t.Error("anybody gets in")
	}
	other := filepath.Join(t.TempDir(), "other")
	if err := keys.Init(other, "shop", keys.Node{Name: "b"}); err != nil {
		t.Fatal(err)
	}
	_, err = attempt(t, Config{Node: "b", Join: []string{at(a)}, Keys: other})
	wantIs(t, err, ErrDenied, "of this cluster")
	// The certificates of this cluster, and a statement of another one.
	mixed := filepath.Join(t.TempDir(), "mixed")
	copyDir(t, filepath.Join(dir, "nodes", "c"), mixed)
	for _, file := range []string{"node.creds", "operator.jwt", "system.jwt", "account.jwt"} {
		raw, err := os.ReadFile(filepath.Join(other, "nodes", "b", file))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(mixed, file), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err = attempt(t, Config{Node: "b", Join: []string{at(a)}, Keys: mixed})
	wantIs(t, err, ErrDenied, "not revoked")
}

func TestKeysThatDoNotFitAreRefusedAtOnce(t *testing.T) {
	dir, a, _ := closedPair(t)
	if err := keys.Add(dir, keys.Node{Name: "old", Valid: -time.Minute}); err != nil {
		t.Fatal(err)
	}
	join := []string{at(a)}
	_, err := attempt(t, Config{Node: "old", Join: join, Keys: dir})
	wantIs(t, err, ErrConfig, "expired", "keys rotate")
	_, err = attempt(t, Config{Node: "nobody", Join: join, Keys: dir})
	wantIs(t, err, keys.ErrUnknown, "a, b, c")
	_, err = attempt(t, Config{Node: "b", Cluster: "bank", Join: join, Keys: dir})
	wantIs(t, err, ErrConfig, `cluster "shop"`, "--cluster")
	_, err = attempt(t, Config{Node: "a", Join: join, Keys: filepath.Join(dir, "nodes", "b")})
	wantIs(t, err, keys.ErrUnknown, "keys of node b")
}

// raw is a NATS client with the keys of a node and code of its own.
func raw(t testing.TB, server *Engine, dir, name string) (*nats.Conn, *subject.Space, chan string) {
	t.Helper()
	id, err := keys.Load(dir, name)
	if err != nil {
		t.Fatal(err)
	}
	denied := make(chan string, 1<<15)
	nc, err := nats.Connect(at(server),
		nats.UserJWT(func() (string, error) { return id.Statement, nil }, id.Sign),
		nats.Secure(keys.ClientTLS(func() *keys.Identity { return id })),
		nats.CustomInboxPrefix("shop.inbox."+name),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { denied <- err.Error() }),
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc, subject.New("shop", name, 0, id.Grants.Token()), denied
}

func TestTheServerRefusesAForgedSender(t *testing.T) {
	dir, a, b := closedPair(t)
	nc, own, denied := raw(t, a, dir, "c")
	var heard atomic.Int64
	count := func(*nats.Msg) { heard.Add(1) }
	for _, e := range []*Engine{a, b} {
		for _, s := range []string{e.Subjects.Frames, e.Subjects.Bulk} {
			if err := e.Control().Subscribe(s, count); err != nil {
				t.Fatal(err)
			}
		}
		if err := e.Control().Subscribe(e.Subjects.Members, count); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Control().Ask(testCtx(t)); err != nil {
			t.Fatal(err)
		}
	}
	asB := subject.New("shop", "b", 0, "d")
	admin, err := keys.ParseGrants([]string{"admin", "call:*"})
	if err != nil {
		t.Fatal(err)
	}
	forged := []string{
		asB.To("a", 0), asB.BulkTo("a", 0), asB.Alive, asB.Engine, // in the name of b
		subject.New("shop", "c", 0, admin.Token()).To("a", 0), // with more rights than c has
		b.Subjects.Reply + "7",                                // NATS's own answer
		"other.to.a.0.c.d", "shop.to.a", asB.Name("a"), "$SYS.REQ.SERVER.PING", subject.Notices(a.identity().Account, "DISCONNECT"),
		"$JS.API.STREAM.DELETE.X", "_INBOX.x",
	}
	for _, s := range forged {
		if err := nc.Publish(s, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	names := 12_000
	for i := range names {
		if err := nc.Publish(subject.New("shop", "n"+strings.Repeat("x", i%50)+string(rune('a'+i%26)), 0, "d").Alive, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	until(t, "all are refused", func() bool { return len(denied) == len(forged)+names })
	if n := heard.Load(); n != 0 {
		t.Errorf("%d forged messages arrive", n)
	}
	// Its own name it may use.
	for _, s := range []string{own.To("a", 0), own.BulkTo("a", 0), own.Alive} {
		if err := nc.Publish(s, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "its own messages arrive", func() bool { return heard.Load() == 4 }) // a and b read signs of life
	for _, s := range []string{asB.Frames, asB.Bulk, asB.Inbox + ".>", "shop.>", ">", "$SYS.>", "$SYS.ACCOUNT.*.SERVER.CONNS"} {
		before := len(denied)
		if _, err := nc.Subscribe(s, count); err != nil {
			t.Fatal(err)
		}
		until(t, "reading "+s+" is refused", func() bool { return len(denied) > before })
	}
}

func TestARefusedSubjectIsTold(t *testing.T) {
	dir, a, _ := closedPair(t)
	told := make(chan string, 10)
	c := opened(t, Config{Node: "c", Join: []string{at(a)}, Keys: dir, Events: Events{Denied: func(s string) { told <- s }}})
	if err := c.Control().Publish("elsewhere", "", nil); err != nil {
		t.Fatal(err)
	}
	if s := receive(t, "the refusal", told); s != "elsewhere" {
		t.Errorf("told of %q", s)
	}
	if err := c.Control().Subscribe("shop.to.a.>", func(*nats.Msg) {}); err != nil {
		t.Fatal(err)
	}
	if s := receive(t, "the refusal", told); s != "shop.to.a.>" {
		t.Errorf("told of %q", s)
	}
}

func TestNoticesDoNotTellOfOtherAccounts(t *testing.T) {
	_, a, _ := closedPair(t)
	if a.shared().nats.GlobalAccount().NumConnections() != 0 {
		t.Error("somebody is in the account of strangers")
	}
}
