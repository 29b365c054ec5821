package nodecmd

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/admin"
)

// reloading is a node n1 that runs with a configuration file in a folder of its own.
type reloading struct {
	t         *testing.T
	dir       string
	out, errs lines
	signals   *interrupts
}

// put writes a file of the folder.
func (r *reloading) put(name, text string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(strings.ReplaceAll(text, "DIR", r.dir)), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// start runs the node until the test ends.
func (r *reloading) start(t *testing.T, opts ...Option) {
	t.Helper()
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	r.signals = &interrupts{}
	ctx, cancel := context.WithCancel(context.WithValue(context.Background(), interruptsKey{}, r.signals))
	ended := make(chan int, 1)
	go func() {
		ended <- Run(ctx, []string{"start", "--config", filepath.Join(r.dir, "node.yaml"), "--loops", "1"}, &r.out, &r.errs, append(opts, demoOptions...)...)
	}()
	t.Cleanup(func() {
		cancel()
		if code := <-ended; code != exitOK {
			t.Errorf("start ended with %d: %s", code, r.errs.String())
		}
	})
	soon(t, "the node is up", func() bool { return strings.Contains(r.out.String(), "Ctrl-C") })
}

// changes is what a reload says, by key.
func changes(t *testing.T) map[string]admin.Change {
	t.Helper()
	out := map[string]admin.Change{}
	for _, c := range decoded[admin.Reload](t, loopmesh("reload", "n1", "-o", "json")).Changes {
		out[c.Key] = c
	}
	return out
}

const firstConfig = "name: n1\nlisten: none\ndrain: 3s\nlog-level: error\nlog-module: [nats=info]\nadmin-listen: 127.0.0.1:0\nadmin-token-file: DIR/token\nprofile: [DIR/profiles]\n"

func TestReload(t *testing.T) {
	r := &reloading{t: t, dir: t.TempDir()}
	r.put("token", strings.Repeat("a", 20))
	r.put("profiles", "one: {argv: [/bin/echo, one]}\n")
	r.put("node.yaml", firstConfig)
	r.start(t)
	at := regexp.MustCompile(`http://\S+`).FindString(r.out.String())
	may := func(token string) int {
		q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, at+"/api/v1/session/ticket", nil)
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Authorization", "Bearer "+strings.Repeat(token, 20))
		answer, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		http.DefaultClient.CloseIdleConnections()
		return answer.StatusCode
	}
	t.Run("nothing is new", func(t *testing.T) {
		if s := loopmesh("reload"); s.code != exitOK || s.out != "n1 has read its configuration: nothing is new\n" {
			t.Errorf("%+v", s)
		}
	})
	t.Run("what can change does, the rest is named", func(t *testing.T) {
		r.put("token", strings.Repeat("b", 20))
		r.put("profiles", "two: {argv: [/bin/echo, two]}\n")
		r.put("node.yaml", strings.NewReplacer("drain: 3s", "drain: 2s", "level: error", "level: info", "nats=info", "admin=debug", "listen: none", "listen: 127.0.0.1:0").Replace(firstConfig)+"allow: ['call:*']\n")
		got := changes(t)
		for key, want := range map[string]admin.Change{
			"drain": {Was: "3s", Value: "2s", Applied: true}, "log-level": {Was: "error", Value: "info", Applied: true}, "log-module": {Was: "nats=info", Value: "admin=debug", Applied: true},
			"admin-token-file": {Was: r.dir + "/token", Value: r.dir + "/token", Applied: true, Note: "the file has changed"},
			"profile":          {Was: r.dir + "/profiles", Value: r.dir + "/profiles", Applied: true, Note: "the file has changed"},
			"listen":           {Was: "none", Value: "127.0.0.1:0"}, "allow": {Value: "call:*"},
		} {
			if want.Key = key; got[key] != want {
				t.Errorf("%+v, want %+v", got[key], want)
			}
		}
		if len(got) != 7 {
			t.Errorf("%+v", got)
		}
		if old, new := may("a"), may("b"); old != http.StatusUnauthorized || new != http.StatusOK {
			t.Errorf("the old token gets %d, the new one %d", old, new)
		}
		if s := loopmesh("log", "levels", "n1", "-o", "jsonl"); !strings.Contains(s.out, `"module":"*","level":"info"`) || !strings.Contains(s.out, `"module":"admin","level":"debug"`) || strings.Contains(s.out, `"module":"nats","level":"info","set":true`) {
			t.Errorf("%+v", s)
		}
		for profile, code := range map[string]int{"one": exitNotFound, "two": exitOK} {
			if s := loopmesh("proc", "run", "--on", "n1", profile); s.code != code {
				t.Errorf("%s: %+v", profile, s)
			}
		}
		if s := loopmesh("events", "--kind", "order"); !strings.Contains(s.out, "LM3180") || !strings.Contains(s.out, "needs a restart for allow, listen") {
			t.Errorf("%+v", s)
		}
	})
	t.Run("what needs a restart is named again, and what was changed by hand stays", func(t *testing.T) {
		if s := loopmesh("log", "set", "n1", "warn"); s.code != exitOK {
			t.Fatalf("%+v", s)
		}
		s := loopmesh("reload")
		if got := strings.Fields(s.out); s.code != exitOK || !strings.HasPrefix(s.out, "KEY") || !strings.Contains(s.out, "needs a restart") || strings.Contains(s.out, "log-level") || len(got) == 0 {
			t.Errorf("%+v", s)
		}
		if s := loopmesh("log", "levels", "n1", "-o", "jsonl"); !strings.Contains(s.out, `"module":"*","level":"warn"`) {
			t.Errorf("%+v", s)
		}
	})
	t.Run("SIGHUP does the same, and says so", func(t *testing.T) {
		r.put("node.yaml", firstConfig)
		r.signals.pass(syscall.SIGHUP)
		soon(t, "it was read", func() bool {
			return strings.Contains(r.out.String(), "read again: applied drain, log-level, log-module\n")
		})
		r.put("node.yaml", "nam: n1\n")
		r.signals.pass(syscall.SIGHUP)
		soon(t, "it was refused", func() bool {
			return strings.Contains(r.errs.String(), `node.yaml:1: there is no key "nam"; did you mean "name"?`)
		})
	})
}

// What is wrong changes nothing, and is told with its line.
func TestAWrongConfigurationIsNotTaken(t *testing.T) {
	r := &reloading{t: t, dir: t.TempDir()}
	r.put("token", strings.Repeat("a", 20))
	r.put("profiles", "one: {argv: [/bin/echo, one]}\n")
	r.put("node.yaml", firstConfig)
	r.start(t)
	for text, want := range map[string]string{
		"name: n1\nlog-levle: info\n":                                        `:2: there is no key "log-levle"; did you mean "log-level"?`,
		"name: n1\nlog-level: loud\n":                                        `:2: --log-level is "loud"`,
		"name: n1\nlog-level: info\nlog-module: [nats]\n":                    `:3: --log-module is "nats"`,
		"name: n1\nlog-level: info\nloops: 1000\ndrain: 2h\n":                "--drain is 2h",
		firstConfig + "voter: true\n":                                        "Voter needs Routes",
		"name: n1\nlog-level: info\nprofile: [DIR/none]\n":                   "no such file",
		"name: n1\nlog-level: info\nadmin-token-file: DIR/short\n":           "at least 16",
		"name: n1\nlog-level: info\nadmin-listen: 0.0.0.0:0\n":               "other machines",
		"name: n1\nlog-level: info\nprofile: [DIR/profiles, DIR/profiles]\n": "stands in",
		"name: [\n": "yaml",
	} {
		r.put("short", "short")
		r.put("node.yaml", text)
		if s := loopmesh("reload", "n1"); s.code != exitConfig || s.out != "" || !strings.Contains(s.errs, want) || !strings.Contains(s.errs, "nothing has changed") {
			t.Errorf("%q: %+v", text, s)
		}
	}
	if s := loopmesh("log", "levels", "n1", "-o", "jsonl"); !strings.Contains(s.out, `"module":"*","level":"error"`) {
		t.Errorf("%+v", s)
	}
	if s := loopmesh("events", "--kind", "LM3181", "-o", "jsonl"); strings.Count(s.out, "\n") != 10 {
		t.Errorf("%+v", s)
	}
	if s := loopmesh("proc", "run", "--on", "n1", "one"); s.code != exitOK || s.out != "one\n" {
		t.Errorf("%+v", s)
	}
	r.put("node.yaml", firstConfig)
	if got := changes(t); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

// A program takes part with what it reads itself, and may refuse.
func TestAProgramReloadsWhatIsItsOwn(t *testing.T) {
	r := &reloading{t: t, dir: t.TempDir()}
	r.put("node.yaml", "name: n1\nlisten: none\nlog-level: error\n")
	var certificate atomic.Value
	certificate.Store("old")
	r.start(t, WithReload(func(_ context.Context, n *cluster.Node) ([]admin.Change, func(), error) {
		text, err := os.ReadFile(filepath.Join(r.dir, "certificate"))
		if err != nil {
			return nil, nil, errors.New("certificate of " + n.Name() + ": none")
		}
		return []admin.Change{{Key: "certificate", Applied: true}}, func() { certificate.Store(string(text)) }, nil
	}))
	r.put("node.yaml", "name: n1\nlisten: none\nlog-level: info\n")
	if s := loopmesh("reload"); s.code != exitConfig || !strings.Contains(s.errs, "certificate of n1: none") || certificate.Load() != "old" {
		t.Errorf("%+v", s)
	}
	if s := loopmesh("log", "levels", "n1", "-o", "jsonl"); !strings.Contains(s.out, `"module":"*","level":"error"`) {
		t.Errorf("%+v", s)
	}
	r.put("certificate", "new")
	if got := changes(t); !got["certificate"].Applied || !got["log-level"].Applied || certificate.Load() != "new" {
		t.Errorf("%+v, %v", got, certificate.Load())
	}
}

func TestReloadOfWhatHasNoConfiguration(t *testing.T) {
	village(t)
	for args, code := range map[string]int{"": exitNotFound, "n2": exitNotFound, "n9": exitNotFound, "n1 n2": exitUsage, "n1 -o x": exitUsage} {
		if s := loopmesh(append([]string{"reload"}, strings.Fields(args)...)...); s.code != code || s.out != "" || s.errs == "" {
			t.Errorf("%q: %+v", args, s)
		}
	}
}

// pair writes a new certificate with its key, and returns its number.
func (r *reloading) pair(number int64) {
	r.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		r.t.Fatal(err)
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(number), NotAfter: time.Now().Add(time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		r.t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		r.t.Fatal(err)
	}
	r.put("cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})))
	r.put("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})))
}

// A node shows the certificate of its last reload to a NATS server it connects to.
func TestReloadOfACertificate(t *testing.T) {
	r := &reloading{t: t, dir: t.TempDir()}
	web := httptest.NewTLSServer(http.NotFoundHandler()) // for its certificate
	web.Close()
	r.put("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw})))
	r.pair(1)
	var seen atomic.Int64
	nats, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true, TLS: true, TLSVerify: true, TLSConfig: &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: web.TLS.Certificates, ClientAuth: tls.RequireAnyClientCert,
		VerifyConnection: func(s tls.ConnectionState) error {
			seen.Store(s.PeerCertificates[0].SerialNumber.Int64())
			return nil
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	go nats.Start()
	t.Cleanup(func() { nats.Shutdown(); nats.WaitForShutdown() })
	if !nats.ReadyForConnections(patience) {
		t.Fatal("the server does not start")
	}
	r.put("node.yaml", fmt.Sprintf("name: n1\nnats-url: tls://%s\ntls-ca: DIR/ca.pem\ntls-cert: DIR/cert.pem\ntls-key: DIR/key.pem\nlog-level: off\n", nats.Addr()))
	r.start(t)
	if seen.Load() != 1 {
		t.Fatal(seen.Load())
	}
	r.pair(2)
	if got := changes(t); !got["tls-cert"].Applied || !got["tls-key"].Applied || got["tls-cert"].Note != "the file has changed; used from the next connection on" || len(got) != 2 {
		t.Errorf("%+v", got)
	}
	connections, err := nats.Connz(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range connections.Conns {
		_ = nats.DisconnectClientByID(c.Cid)
	}
	soon(t, "it comes back with the new certificate", func() bool { return seen.Load() == 2 })
	r.put("key.pem", "none")
	if s := loopmesh("reload"); s.code != exitConfig || !strings.Contains(s.errs, "node.yaml:4: --tls-cert") {
		t.Errorf("%+v", s)
	}
}
