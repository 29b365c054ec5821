//go:build foreign

package main

import (
	"net"
	"testing"

	"github.com/loopmesh/loopmesh/examples/internal/exampletest"
)

func TestDig(t *testing.T) {
	_, port, err := net.SplitHostPort(serve(t))
	if err != nil {
		t.Fatal(err)
	}
	dig := func(args ...string) string {
		return exampletest.Output(t, "", "dig", append([]string{"-p", port, "@127.0.0.1", "+short", "+tries=5"}, args...)...)
	}
	if out := dig("printer.home"); out != "192.0.2.7\n" {
		t.Errorf("A: %q", out)
	}
	if out := dig("printer.home", "AAAA"); out != "2001:db8::7\n" {
		t.Errorf("AAAA: %q", out)
	}
	if out := dig("whoami", "TXT"); out != "\"127.0.0.1\"\n" {
		t.Errorf("TXT: %q", out)
	}
}
