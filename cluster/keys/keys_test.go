package keys

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/internal/leaktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: m}) }

func wantIs(t *testing.T, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("got %v, want %v", err, target)
	}
}

// made is a key folder of cluster shop with a voter n1 and a node n2.
func made(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "keys")
	if err := Init(dir, "shop", Node{Name: "n1", Voter: true, Hosts: []string{"10.77.0.1", "n1.lan"}}, Node{Name: "n2", Grants: []string{"call:math.*", "admin"}}); err != nil {
		t.Fatal(err)
	}
	return dir
}

func loaded(t *testing.T, dir, name string) *Identity {
	t.Helper()
	id, err := Load(dir, name)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestKeysAreMadeAndRead(t *testing.T) {
	dir := made(t)
	n1, n2 := loaded(t, dir, "n1"), loaded(t, filepath.Join(dir, "nodes", "n2"), "")
	if n1.Node != "n1" || n1.Cluster != "shop" || !n1.Voter || n1.Grants.String() != "call:*,publish:*,timer:*,write" {
		t.Errorf("%+v", n1)
	}
	if n2.Node != "n2" || n2.Voter || n2.Grants.String() != "admin,call:math.*" {
		t.Errorf("%+v", n2)
	}
	if n1.Account != n2.Account || n1.Statement == n2.Statement {
		t.Error("two nodes of one account have statements of their own")
	}
	if year := time.Now().Add(364 * 24 * time.Hour); n1.Expires.Before(year) || n1.CertificateExpires().Before(year) {
		t.Error("keys end within a year:", n1.Expires, n1.CertificateExpires())
	}
}

func TestSecretsAreTheOwnersAlone(t *testing.T) {
	dir := made(t)
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch mode := info.Mode().Perm(); {
		case d.IsDir() && mode != 0o700, secret(d.Name()) && mode != 0o600:
			t.Errorf("%s has mode %#o", path, mode)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	creds := filepath.Join(dir, "nodes", "n1", fileCreds)
	if err := os.Chmod(creds, 0o640); err != nil {
		t.Fatal(err)
	}
	_, err = Load(dir, "n1")
	wantIs(t, err, ErrPermissions)
	if !strings.Contains(err.Error(), "chmod 600") {
		t.Error(err, "does not say what to do")
	}
}

func TestWhatKeysCannotBeMadeOf(t *testing.T) {
	dir := made(t)
	wantIs(t, Init(dir, "shop"), ErrExists)
	wantIs(t, Add(dir, Node{Name: "n1"}), ErrExists)
	wantIs(t, Add(t.TempDir(), Node{Name: "n1"}), ErrUnknown)
	wantIs(t, Rotate(dir, "n9"), ErrUnknown)
	_, err := Revoke(dir, "n9", false)
	wantIs(t, err, ErrUnknown)
	fresh := filepath.Join(t.TempDir(), "keys")
	wantIs(t, Init(fresh, "a b"), ErrInvalid)
	wantIs(t, Init(fresh, "a", Node{Name: "n1"}, Node{Name: "n1"}), ErrInvalid)
	for _, n := range []Node{
		{Name: "a.b"}, {Name: ""}, {Name: "n", Hosts: []string{"h:4222"}}, {Name: "n", Hosts: []string{""}},
		{Name: "n", Grants: []string{"fly"}}, {Name: "n", Grants: []string{"call:"}}, {Name: "n", Grants: []string{"call:[a"}},
		{Name: "n", Grants: []string{"write:x"}}, {Name: "n", Grants: []string{"call:a,b"}}, {Name: "n", Grants: make([]string, 33)},
	} {
		wantIs(t, Init(fresh, "a", n), ErrInvalid)
		wantIs(t, Add(dir, n), ErrInvalid)
	}
	if exists(fresh) {
		t.Error("a refused Init leaves a folder")
	}
}

func TestWhatCannotBeLoaded(t *testing.T) {
	dir := made(t)
	for name, at := range map[string]string{"n9": dir, "": dir, "n1": filepath.Join(dir, "nodes", "n2"), "x": t.TempDir()} {
		_, err := Load(at, name)
		wantIs(t, err, ErrUnknown)
	}
	n2 := filepath.Join(dir, "nodes", "n2")
	for _, name := range []string{fileCA, fileNode, fileCreds, fileAccount, fileOperator} {
		was, err := readFile(n2, name)
		if err != nil {
			t.Fatal(err)
		}
		if err := writeFile(n2, name, []byte("garbage")); err != nil {
			t.Fatal(err)
		}
		_, err = Load(n2, "")
		wantIs(t, err, ErrInvalid)
		if err := writeFile(n2, name, was); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(n2, fileNode)); err != nil {
		t.Fatal(err)
	}
	_, err := Load(n2, "")
	wantIs(t, err, ErrUnknown)
}

func TestAnotherClustersAccountIsRefused(t *testing.T) {
	n1, other := loaded(t, made(t), "n1"), loaded(t, made(t), "n1")
	if _, err := n1.CheckAccount(n1.Members); err != nil {
		t.Error(err)
	}
	_, err := n1.CheckAccount(other.Members)
	wantIs(t, err, ErrInvalid)
}

func TestRotateAddsAKeyAndRevokeTakesItBack(t *testing.T) {
	dir := made(t)
	before := loaded(t, dir, "n2")
	stamp := Stamp(dir, "n2")
	if err := Rotate(dir, "n2"); err != nil {
		t.Fatal(err)
	}
	after := loaded(t, dir, "n2")
	if before.Statement == after.Statement || before.Grants.String() != after.Grants.String() || Stamp(dir, "n2") == stamp {
		t.Error("rotate changed nothing, or too much")
	}
	revoked := func(id *Identity) bool {
		claims, err := loaded(t, dir, "n1").Revocations() // the change reaches every node's folder
		if err != nil {
			t.Fatal(err)
		}
		user, err := jwt.DecodeUserClaims(id.Statement)
		if err != nil {
			t.Fatal(err)
		}
		return claims.IsClaimRevoked(user)
	}
	if revoked(before) || revoked(after) {
		t.Error("rotate revokes")
	}
	first, _ := before.Revocations()
	if n, err := Revoke(dir, "n2", true); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if !revoked(before) || revoked(after) {
		t.Error("only the old key is to be revoked")
	}
	if n, err := Revoke(dir, "n2", true); n != 0 || err != nil {
		t.Fatal("there is no old key left:", n, err)
	}
	second, _ := loaded(t, dir, "n2").Revocations()
	if n, err := Revoke(dir, "n2", false); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	third, _ := loaded(t, dir, "n2").Revocations()
	if !Newer(second, first) || !Newer(third, second) || Newer(first, third) || Newer(third, third) {
		t.Error("the statements are not in order")
	}
	if !revoked(after) {
		t.Error("the new key is not revoked")
	}
	for range 2 { // an older statement does not replace a newer one
		if err := Save(dir, "n1", before.Members); err != nil {
			t.Fatal(err)
		}
		if got := loaded(t, dir, "n1").Members; got == before.Members {
			t.Error("the revoked keys are forgotten")
		}
	}
	wantIs(t, Rotate(dir, "n2"), ErrUnknown)
	if err := Add(dir, Node{Name: "n2"}); err != nil {
		t.Error("a revoked name cannot be given again:", err)
	}
	if revoked(loaded(t, dir, "n2")) {
		t.Error("the keys that were made again are revoked")
	}
}

func TestRights(t *testing.T) {
	g, err := ParseGrants([]string{"call:math.*", "timer:math.add", "spawn:backup", "call:ping"})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"math.add": true, "math.": true, "ping": true, "pong": false, "xmath.add": false} {
		if g.Call(name) != want {
			t.Errorf("call %s: %v", name, !want)
		}
	}
	if !g.Timer("math.add") || g.Publish("math.add") || g.Timer("math.sub") || !g.Spawn("backup") || g.Spawn("sh") || g.Write() || g.Admin() {
		t.Error(g)
	}
	d := DefaultGrants()
	if !d.Call("x") || d.Call("x/y") || !d.Timer("x") || !d.Publish("x") || !d.Write() || d.Admin() || d.Spawn("x") {
		t.Error("default:", d)
	}
	none, err := ParseGrants([]string{"none"})
	if err != nil || none.Call("x") || none.Write() || none.String() != "none" {
		t.Error(none, err)
	}
	for _, g := range []Grants{g, d, none} {
		if got := FromToken(g.Token()); !slices.Equal(got.List(), g.List()) {
			t.Errorf("%v becomes %v", g, got)
		}
		if strings.ContainsAny(g.Token(), ".*> ") || g.Token() == "" {
			t.Errorf("%q is no token of a subject", g.Token())
		}
	}
	for _, token := range []string{"", "x", "y", "x!!", "xYQ", "d.d", "x" + strings.Repeat("Y", 2000)} {
		if g := FromToken(token); len(g.List()) != 0 {
			t.Errorf("%q gives %v", token, g)
		}
	}
}

// handshake runs both sides of TLS over a pipe and returns their errors.
func handshake(client, server *tls.Config) (clientErr, serverErr error) {
	a, b := net.Pipe()
	deadline := time.Now().Add(20 * time.Second)
	_, _ = a.SetDeadline(deadline), b.SetDeadline(deadline)
	done := make(chan error, 1)
	go func() {
		s := tls.Server(b, server)
		err := s.Handshake()
		if err == nil {
			_, err = s.Write([]byte("x"))
		}
		_ = b.Close()
		done <- err
	}()
	c := tls.Client(a, client)
	clientErr = c.Handshake()
	if clientErr == nil {
		_, clientErr = c.Read(make([]byte, 1))
	}
	_ = a.Close()
	return clientErr, <-done
}

func named(c *tls.Config, host string) *tls.Config {
	c = c.Clone()
	c.ServerName = host
	return c
}

func TestCertificatesKeepStrangersOut(t *testing.T) {
	dir := made(t)
	if err := Add(dir, Node{Name: "old", Voter: true, Valid: -time.Minute}); err != nil {
		t.Fatal(err)
	}
	if err := Add(dir, Node{Name: "v2", Voter: true}); err != nil {
		t.Fatal(err)
	}
	who := func(dir, name string) func() *Identity {
		id := loaded(t, dir, name)
		return func() *Identity { return id }
	}
	n1, n2, old, stranger := who(dir, "n1"), who(dir, "n2"), who(dir, "old"), who(made(t), "n1")
	for _, c := range []struct {
		name           string
		client, server *tls.Config
		host, says     string
	}{
		{"a node", ClientTLS(n2), ServerTLS(n1), "10.77.0.1", ""},
		{"a node, by name", ClientTLS(n2), ServerTLS(n1), "n1.lan", ""},
		{"another host", ClientTLS(n2), ServerTLS(n1), "n2.lan", "n2.lan"},
		{"a stranger", ClientTLS(stranger), ServerTLS(n1), "n1.lan", "unknown authority"},
		{"no certificate", &tls.Config{RootCAs: n1().cas}, ServerTLS(n1), "n1.lan", "certificate"},
		{"an expired one", ClientTLS(old), ServerTLS(n1), "n1.lan", "expired"},
		{"an expired server", ClientTLS(n2), ServerTLS(old), "localhost", "expired"},
		{"two voters", RouteTLS(who(dir, "v2")), RouteTLS(n1), "n1.lan", ""},
		{"a route of a node that is no voter", RouteTLS(n2), RouteTLS(n1), "n1.lan", "not one of a voter"},
		{"an expired voter", RouteTLS(old), RouteTLS(n1), "n1.lan", "expired"},
		{"a stranger's route", RouteTLS(stranger), RouteTLS(n1), "n1.lan", "unknown authority"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := handshake(named(c.client, c.host), c.server)
			if err := errors.Join(a, b); (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("client: %v; server: %v", a, b)
			}
		})
	}
}

// TestAForgedStatementIsRefused: it is about the account of the cluster, and somebody else
// than the cluster's operator has signed it.
func TestAForgedStatementIsRefused(t *testing.T) {
	id := loaded(t, made(t), "n1")
	claims, err := id.Revocations()
	if err != nil {
		t.Fatal(err)
	}
	claims.Revoke("*")
	other, err := nkeys.CreateOperator()
	if err != nil {
		t.Fatal(err)
	}
	forged, err := claims.Encode(other)
	if err != nil {
		t.Fatal(err)
	}
	_, err = id.CheckAccount(forged)
	wantIs(t, err, ErrInvalid)
	if _, err := id.CheckAccount(id.Members); err != nil {
		t.Errorf("the operator's own: %v", err)
	}
}
