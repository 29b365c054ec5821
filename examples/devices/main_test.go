package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/examples/internal/exampletest"
	"github.com/loopmesh/loopmesh/internal/leaktest"
	"github.com/loopmesh/loopmesh/loopnode"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: m}) }

func small() config {
	return config{plain: "127.0.0.1:0", secure: "127.0.0.1:0", most: 3, line: 64, idle: time.Hour, stats: time.Hour, grace: 10 * time.Second}
}

// start runs a gateway until the test ends.
func start(t *testing.T, cfg config) (next func(string) string) {
	return exampletest.Start(t, func(ctx context.Context, out io.Writer) error {
		return loopnode.Run(ctx, func(ctx context.Context) error { return run(ctx, cfg, out) })
	})
}

// device is a client that reads lines.
type device struct {
	net.Conn
	in *bufio.Reader
}

func dial(t *testing.T, at string) device {
	c := exampletest.Dial(t, at)
	return device{c, bufio.NewReader(c)}
}

// say writes a line, when there is one, and wants the answer.
func (d device) say(t *testing.T, line, want string) {
	t.Helper()
	if line != "" {
		if _, err := io.WriteString(d, line+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := d.in.ReadString('\n'); got != want+"\n" {
		t.Fatalf("%q answers %q, %v; want %q", line, got, err, want)
	}
}

// ends wants the end of the connection.
func (d device) ends(t *testing.T) {
	t.Helper()
	if got, err := d.in.ReadString('\n'); err != io.EOF || got != "" {
		t.Fatalf("it reads %q, %v; want the end", got, err)
	}
}

func TestDevicesTalk(t *testing.T) {
	at := start(t, small())("on ")
	lamp, knob := dial(t, at), dial(t, at)
	lamp.say(t, "TO knob hello", "! ID NAME, once and with a name of your own, then TO NAME TEXT")
	lamp.say(t, "ID lamp", "+ hello lamp")
	knob.say(t, "ID lamp", "! ID NAME, once and with a name of your own, then TO NAME TEXT")
	knob.say(t, "ID knob\r", "+ hello knob")
	knob.say(t, "TO lamp on and on", "+")
	lamp.say(t, "", "knob on and on")
	knob.say(t, "TO fan on", "! no device fan")
}

func TestBounds(t *testing.T) {
	next := start(t, small())
	at := next("on ")
	long, a, b := dial(t, at), dial(t, at), dial(t, at)
	long.say(t, "ID long", "+ hello long")
	a.say(t, "ID a", "+ hello a")
	b.say(t, "ID b", "+ hello b")
	more := dial(t, at)
	more.say(t, "", "! too many connections")
	more.ends(t)
	if _, err := io.WriteString(long, strings.Repeat("x", 300)); err != nil {
		t.Fatal(err)
	}
	if why := next("long 127.0.0.1:"); !strings.Contains(why, "the limit is 64") {
		t.Error(why)
	}
	long.ends(t)
}

func TestSilenceEndsAConnection(t *testing.T) {
	cfg := small()
	cfg.idle = 50 * time.Millisecond
	next := start(t, cfg)
	d := dial(t, next("on "))
	d.ends(t)
	if why := next(" 127.0.0.1:"); !strings.Contains(why, "nothing moved on the connection for 50ms") {
		t.Error(why)
	}
}

func TestNumbersArePrinted(t *testing.T) {
	cfg := small()
	cfg.stats = time.Millisecond
	next := start(t, cfg)
	d := dial(t, next("on "))
	if _, err := io.WriteString(d, "ID a\n"); err != nil {
		t.Fatal(err)
	}
	for next("") != "1 connections, 1 devices, 1 lines, 0 refused, 0 bytes wait" { // the loop waits for who reads what it prints
	}
	d.say(t, "", "+ hello a")
}

func TestTheEndIsInGoodOrder(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	next := exampletest.Start(t, func(_ context.Context, out io.Writer) error {
		err := loopnode.Run(ctx, func(ctx context.Context) error { return run(ctx, small(), out) })
		ended <- err
		return err
	})
	at := next("on ")
	d, silent := dial(t, at), dial(t, at)
	d.say(t, "ID a", "+ hello a")
	silent.say(t, "nothing", "! ID NAME, once and with a name of your own, then TO NAME TEXT")
	cancel()
	next("ending with 2 connections")
	d.say(t, "", "* the gateway ends")
	d.ends(t)
	silent.ends(t)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", at); err == nil {
		t.Error("somebody listens still")
		_ = c.Close()
	}
}

func TestTLS(t *testing.T) {
	cert, pool := selfSigned(t)
	cfg := small()
	cfg.tls = &tls.Config{Certificates: []tls.Certificate{cert}}
	next := start(t, cfg)
	plain, secure := next("on "), next("on ")
	lamp := dial(t, plain)
	lamp.say(t, "ID lamp", "+ hello lamp")
	c := tls.Client(exampletest.Dial(t, secure), &tls.Config{RootCAs: pool, ServerName: "localhost"})
	knob := device{c, bufio.NewReader(c)}
	knob.say(t, "ID knob", "+ hello knob")
	knob.say(t, "TO lamp on", "+")
	lamp.say(t, "", "knob on")
}

func selfSigned(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}
