package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/loopmesh/loopmesh/examples/internal/exampletest"
)

// site serves a fresh folder with a large file in it.
func site(t testing.TB, change ...func(*config)) (url string, large []byte) {
	t.Helper()
	c := config{at: "127.0.0.1:0", root: t.TempDir(), idle: time.Minute}
	for _, f := range change {
		f(&c)
	}
	large = bytes.Repeat([]byte("0123456789abcdef"), 200_000) // 3.2 MB
	for name, data := range map[string][]byte{"large.bin": large, "note.txt": []byte("a note\n"), "empty": nil} {
		if err := os.WriteFile(filepath.Join(c.root, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	next := exampletest.Start(t, func(ctx context.Context, out io.Writer) error { return run(ctx, c, out) })
	return next("listening on "), large
}

// certificate makes a key pair for the loopback address.
func certificate(t testing.TB) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, form, form, &secret.PublicKey, secret)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, data := range map[string][]byte{cert: certPEM, key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return cert, key, pool
}

func check(t testing.TB, client *http.Client, url string, large []byte) {
	t.Helper()
	for _, c := range []struct {
		path   string
		status int
		body   string
	}{
		{"/hello", 200, "hello, world\n"},
		{"/hello?x=1", 200, "hello, world\n"},
		{"/files/note.txt", 200, "a note\n"},
		{"/files/empty", 200, ""},
		{"/files/large.bin", 200, string(large)},
		{"/files/none", 404, "no file none\n"},
		{"/files/../main.go", 404, "no file ../main.go\n"},
		{"/files/.", 403, ". is no regular file\n"},
		{"/", 404, "try /hello or /files/NAME\n"},
	} {
		req, err := http.NewRequest("GET", url+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.URL.Opaque = c.path // as it is, dots too
		res, err := client.Do(req)
		if err != nil {
			t.Fatalf("%s: %v", c.path, err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != c.status || string(body) != c.body {
			t.Errorf("%s: %d, %d bytes %.40q, %v", c.path, res.StatusCode, len(body), body, err)
		}
	}
}

func TestGet(t *testing.T) {
	url, large := site(t)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	check(t, client, url, large)
}

func TestGetOverTLS(t *testing.T) {
	cert, key, pool := certificate(t)
	url, large := site(t, func(c *config) { c.cert, c.key = cert, key })
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	defer client.CloseIdleConnections()
	check(t, client, url, large)
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	url, large := site(t)
	c := exampletest.Dial(t, strings.TrimPrefix(url, "http://"))
	fmt.Fprint(c, "GET /files/large.bin HTTP/1.1\r\nHost: x\r\n\r\nPOST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nfilesHEAD /hello HTTP/1.1\r\nHost: x\r\n\r\nGET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nGET /never HTTP/1.1\r\nHost: x\r\n\r\n")
	in := bufio.NewReader(c)
	for i, want := range []struct {
		method string
		status int
		body   string
	}{{"GET", 200, string(large)}, {"POST", 405, "only GET and HEAD\n"}, {"HEAD", 200, ""}, {"GET", 200, "hello, world\n"}} {
		res, err := http.ReadResponse(in, &http.Request{Method: want.method})
		if err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != want.status || string(body) != want.body {
			t.Fatalf("answer %d: %d, %d bytes, %v", i, res.StatusCode, len(body), err)
		}
	}
	if rest, err := io.ReadAll(in); err != nil || len(rest) > 0 {
		t.Fatalf("behind the last answer: %q, %v", rest, err)
	}
}

// What waits behind a file is not copied for each file: that would be some 13 GB here.
func TestManyPipelinedFilesAreNotCopied(t *testing.T) {
	url, _ := site(t)
	c := exampletest.Dial(t, strings.TrimPrefix(url, "http://"))
	const many = 20_000
	request := "GET /files/empty HTTP/1.1\r\nHost: x\r\n\r\n"
	sending := make(chan error, 1)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	// goroutine: owner: the test; ends when all is sent or the connection closes
	go func() {
		_, err := io.WriteString(c, strings.Repeat(request, many))
		sending <- err
	}()
	in := bufio.NewReader(c)
	for i := range many {
		res, err := http.ReadResponse(in, nil)
		if err != nil || res.StatusCode != 200 {
			t.Fatalf("answer %d: %v, %v", i, res, err)
		}
	}
	if err := <-sending; err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<30 {
		t.Errorf("%d MiB were allocated for %d requests", n>>20, many)
	}
}

func TestWhatIsNoRequestEndsTheConnection(t *testing.T) {
	url, _ := site(t)
	for send, want := range map[string]string{
		"HELLO\r\n\r\n":                                                                        "HTTP/1.1 400 ",
		"GET /hello HTTP/2.0\r\n\r\n":                                                          "HTTP/1.1 400 ",
		"GET /hello HTTP/1.1\r\nno colon\r\n\r\n":                                              "HTTP/1.1 400 ",
		"GET /hello HTTP/1.1\r\nContent-Length: -1\r\n\r\n":                                    "HTTP/1.1 400 ",
		"GET /hello HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n":                              "HTTP/1.1 413 ",
		"GET /hello HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n":                            "HTTP/1.1 411 ",
		"GET /hello HTTP/1.1\r\n\r\n":                                                          "HTTP/1.1 400 ",
		"GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n":                                    "HTTP/1.1 400 ",
		"GET /hello HTTP/1.99x\r\nHost: x\r\n\r\n":                                             "HTTP/1.1 400 ",
		"GET /hello HTTP/1.\r\nHost: x\r\n\r\n":                                                "HTTP/1.1 400 ",
		"GET /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd": "HTTP/1.1 400 ",
		"GET /hello HTTP/1.1\r\nHost: x\r\nContent-Length: \v5\r\n\r\nhello":                   "HTTP/1.1 400 ",
		"GET /hello HTTP/1.1\r\nHost: x\r\nContent-Length:\u00a05\r\n\r\nhello":                "HTTP/1.1 400 ",
		"GET /hello HTTP/1.1\r\nHost: x\r\nContent-Length\x00: 5\r\n\r\nhello":                 "HTTP/1.1 400 ",
		"GET /hello HTTP/1.1\r\nHost: x\r\nTransfer-Encoding\v: chunked\r\n\r\n":               "HTTP/1.1 400 ",
		"GET /hello HTTP/1.1\r\nHost: x\r\nTransfer\xff-Encoding: chunked\r\n\r\n":             "HTTP/1.1 400 ",
		"GET /hello HTTP/1.1\r\nHost: x\r\nA: b\nContent-Length: 5\r\n\r\nhello":               "HTTP/1.1 400 ",
		"GET /hello HTTP/1.1\r\nHost: x\r\nA: b\rContent-Length: 5\r\n\r\nhello":               "HTTP/1.1 400 ",
		"GET /hello\r HTTP/1.1\r\nHost: x\r\n\r\n":                                             "HTTP/1.1 400 ",
		" /hello HTTP/1.1\r\nHost: x\r\n\r\n":                                                  "HTTP/1.1 400 ",
		"G(T /hello HTTP/1.1\r\nHost: x\r\n\r\n":                                               "HTTP/1.1 400 ",
		"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: TE, close\r\n\r\n":                      "HTTP/1.1 200 ",
		"GET /hello HTTP/1.0\r\nConnection: close, keep-alive\r\n\r\n":                         "HTTP/1.1 200 ",
		"GET /" + strings.Repeat("x", maxHead) + " HTTP/1.1\r\n\r\n":                           "HTTP/1.1 431 ",
	} {
		c := exampletest.Dial(t, strings.TrimPrefix(url, "http://"))
		fmt.Fprint(c, send)
		if got, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(got), want) {
			t.Errorf("%.40q: %.60q, %v", send, got, err)
		}
	}
}

// TestADownloadLastsLongerThanTheIdleLimit reads a file so slowly that it takes
// longer than a connection may be idle, but never stops for that long.
func TestADownloadLastsLongerThanTheIdleLimit(t *testing.T) {
	const idle = time.Second // this program may stand for a part of it on a busy machine
	url, large := site(t, func(c *config) { c.idle = idle })
	client := &http.Client{Transport: &http.Transport{DialContext: slowDial}}
	defer client.CloseIdleConnections()
	res, err := client.Get(url + "/files/large.bin")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	begun, steps := time.Now(), 0
	got := make([]byte, 0, len(large))
	tick := time.NewTicker(idle / 10)
	defer tick.Stop()
	for len(got) < len(large) {
		part := make([]byte, len(large)/30+1)
		n, err := io.ReadFull(res.Body, part)
		got = append(got, part[:n]...)
		if err != nil && len(got) < len(large) {
			t.Fatalf("cut after %d of %d bytes and %v: %v", len(got), len(large), time.Since(begun), err)
		}
		steps++
		<-tick.C
	}
	if took := time.Since(begun); !bytes.Equal(got, large) || took < 2*idle {
		t.Fatalf("%d bytes in %d steps and %v", len(got), steps, took)
	}
}

// slowDial makes a connection with a small receive buffer, so that the server
// feels how slowly the client reads.
func slowDial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err == nil {
		err = c.(*net.TCPConn).SetReadBuffer(16 << 10)
	}
	return c, err
}

func TestAnIdleConnectionEnds(t *testing.T) {
	url, _ := site(t, func(c *config) { c.idle = 50 * time.Millisecond })
	c := exampletest.Dial(t, strings.TrimPrefix(url, "http://"))
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Fatal("the server spoke first")
	}
}

func TestMissingFolderAndCertificate(t *testing.T) {
	if err := run(t.Context(), config{at: "127.0.0.1:0", root: filepath.Join(t.TempDir(), "none")}, io.Discard); err == nil {
		t.Error("a folder that is not there was accepted")
	}
	if err := run(t.Context(), config{at: "127.0.0.1:0", root: t.TempDir(), cert: "none.pem"}, io.Discard); err == nil {
		t.Error("a certificate that is not there was accepted")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	f.Add([]byte("POST /x HTTP/1.0\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nabc"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := newConn(t.Context(), nil)
		c.skip = len(b) % 7
		for len(b) > 0 {
			before := c.skip
			n, head, err := c.split(b, false)
			if n < 0 || n > len(b) || err != nil && n != 0 || c.skip < 0 || c.skip > before {
				t.Fatalf("took %d of %d bytes, %v; %d to be skipped, %d before", n, len(b), err, c.skip, before)
			}
			if n == 0 {
				break
			}
			if head != nil {
				r, bad := parse(head)
				if bad == nil && (r.body < 0 || r.body > maxBody) {
					t.Fatalf("%+v", r)
				}
				c.skip = max(r.body, 0)
			}
			b = b[n:]
		}
	})
}
