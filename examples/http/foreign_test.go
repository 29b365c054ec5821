//go:build foreign

package main

import (
	"strings"
	"testing"

	"github.com/loopmesh/loopmesh/examples/internal/exampletest"
)

func TestCurl(t *testing.T) {
	cert, key, _ := certificate(t)
	plain, large := site(t)
	secure, _ := site(t, func(c *config) { c.cert, c.key = cert, key })
	for _, url := range []string{plain, secure} {
		curl := func(args ...string) string {
			return exampletest.Output(t, "", "curl", append([]string{"-sS", "--cacert", cert}, args...)...)
		}
		if out := curl(url+"/hello", url+"/hello"); out != "hello, world\nhello, world\n" {
			t.Errorf("%s: got %q", url, out)
		}
		if out := curl("--fail", url+"/files/large.bin"); out != string(large) {
			t.Errorf("%s: %d of %d bytes of the file", url, len(out), len(large))
		}
		if out := curl("-I", url+"/files/note.txt"); !strings.Contains(out, "Content-Length: 7\r\n") || !strings.Contains(out, "text/plain") {
			t.Errorf("%s: got %q", url, out)
		}
	}
}

func TestWrk(t *testing.T) {
	url, _ := site(t)
	out := exampletest.Output(t, "", "wrk", "-t1", "-c16", "-d1s", url+"/hello")
	if !strings.Contains(out, "Requests/sec") || strings.Contains(out, "Socket errors") || strings.Contains(out, "Non-2xx") {
		t.Errorf("wrk says\n%s", out)
	}
}
