package engine

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/loopmesh/loopmesh/cluster/keys"
)

// external is a NATS server with that configuration, and its address.
func external(t testing.TB, config string) string {
	t.Helper()
	o := &server.Options{}
	if err := o.ProcessConfigString("listen: \"127.0.0.1:-1\"\n" + config); err != nil {
		t.Fatal(err)
	}
	o.NoSigs, o.NoLog = true, true
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("the server is not ready")
	}
	return s.Addr().String()
}

func TestAnExternalNATSWithAUser(t *testing.T) {
	url := external(t, `authorization { user: u, password: secret }`)
	opened(t, Config{Node: "a", URL: url, User: "u", Password: "secret"})
	opened(t, Config{Node: "a", URL: "nats://u:secret@" + url})
	_, err := attempt(t, Config{Node: "a", URL: url, User: "u", Password: "wrong"})
	wantIs(t, err, ErrDenied)
	_, err = attempt(t, Config{Node: "a", URL: "nats://u:wrong@" + url})
	wantIs(t, err, ErrDenied, "u:xxxxx@")
}

func TestAnExternalNATSWithAnNkey(t *testing.T) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, _ := pair.PublicKey()
	seed, _ := pair.Seed()
	file := filepath.Join(t.TempDir(), "user.nk")
	if err := os.WriteFile(file, seed, 0o600); err != nil {
		t.Fatal(err)
	}
	url := external(t, fmt.Sprintf(`authorization { users: [ { nkey: %s } ] }`, public))
	opened(t, Config{Node: "a", URL: url, NKey: file})
	_, err = attempt(t, Config{Node: "a", URL: url})
	wantIs(t, err, ErrDenied)
	if err := os.WriteFile(file, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err = attempt(t, Config{Node: "a", URL: url, NKey: file}); err == nil {
		t.Error("a broken seed is taken")
	}
}

// TestAnExternalNATSWithTLSAndCredentials uses the keys of a cluster for a server
// that is configured by hand.
func TestAnExternalNATSWithTLSAndCredentials(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	if err := keys.Init(dir, "shop", keys.Node{Name: "server"}, keys.Node{Name: "a"}, keys.Node{Name: "old", Valid: -time.Minute}); err != nil {
		t.Fatal(err)
	}
	at := func(node, file string) string { return filepath.Join(dir, "nodes", node, file) }
	url := external(t, fmt.Sprintf(`tls { cert_file: %q, key_file: %q, ca_file: %q, verify: true }`, at("server", "node.pem"), at("server", "node.pem"), at("server", "ca.pem")))
	client := func(node string) *tls.Config {
		pem, err := os.ReadFile(at(node, "ca.pem"))
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		cert, err := tls.LoadX509KeyPair(at(node, "node.pem"), at(node, "node.pem"))
		if err != nil {
			t.Fatal(err)
		}
		return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{cert}}
	}
	opened(t, Config{Node: "a", URL: url, TLS: client("a")})
	_, err := attempt(t, Config{Node: "a", URL: url, TLS: client("old")})
	wantIs(t, err, ErrDenied, "certificate")
	_, err = attempt(t, Config{Node: "a", URL: "tls://" + url})
	wantIs(t, err, ErrDenied, "certificates")
	_, err = attempt(t, Config{Node: "a", URL: url, TLS: &tls.Config{RootCAs: client("a").RootCAs}})
	wantIs(t, err, ErrDenied)
}

func TestAnExternalNATSWithACredentialsFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	if err := keys.Init(dir, "shop", keys.Node{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	id, err := keys.Load(dir, "a")
	if err != nil {
		t.Fatal(err)
	}
	account, err := id.Revocations()
	if err != nil {
		t.Fatal(err)
	}
	url := external(t, fmt.Sprintf("operator: %q\nresolver: MEMORY\nresolver_preload: { %s: %q, %s: %q }", id.Operator, account.Subject, id.Members, account.Imports[0].Account, id.System))
	opened(t, Config{Node: "a", URL: url, Credentials: filepath.Join(dir, "nodes", "a", "node.creds")})
	_, err = attempt(t, Config{Node: "a", URL: url})
	wantIs(t, err, ErrDenied)
}
