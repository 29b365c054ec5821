package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/examples/internal/exampletest"
	"github.com/loopmesh/loopmesh/internal/leaktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: m}) }

// fleet is a desk and two agents, and the address of the desk.
func fleet(t *testing.T) (desk string) {
	t.Helper()
	role := func(args ...string) func(string) string {
		return exampletest.Start(t, func(ctx context.Context, out io.Writer) error { return run(ctx, args, out) })
	}
	next := role("desk", "127.0.0.1:0", "127.0.0.1:0")
	join := strings.TrimPrefix(next("join "), "nats://")
	desk = next("http ")
	for _, name := range []string{"web1", "web2"} {
		role("agent", name, join)("agent ")
	}
	eventually(t, "the desk knows both", func() bool { return get(t, desk+"/nodes") == "web1\nweb2\n" })
	return desk
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatal("never: " + what)
		}
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	return body(t, resp)
}

func body(t *testing.T, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func post(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Post(url, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	return body(t, resp)
}

// wants compares an answer, whose lines come in any order between two nodes.
func wants(t *testing.T, got string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains("\n"+got, "\n"+p) {
			t.Errorf("%q lacks the line %q", got, p)
		}
	}
}

func TestFleet(t *testing.T) {
	desk := fleet(t)
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		t.Fatal(err)
	}
	got := post(t, desk+"/run/load")
	wants(t, got, "web1: == exit 0\n", "web2: == exit 0\n", "desk: == 2 nodes, 0 failed\n")
	if n := strings.Count(got, "\n"); n != 5 || len(got) < 2*len(load) {
		t.Errorf("%d lines: %q", n, got)
	}
	wants(t, post(t, desk+"/run/disk?on=web1&path=/no/such"), "web1: /bin/df: /no/such", "web1: == failed: exit 1\n", "desk: == 1 nodes, 1 failed\n")
	wants(t, post(t, desk+"/run/disk?on=web2&path=%3Bid"), "web2: == failed: ", "desk: == 1 nodes, 1 failed\n")
	wants(t, post(t, desk+"/run/disk?path=;id"), "the arguments cannot be read")
	wants(t, post(t, desk+"/run/reboot"), "web1: == failed: unknown profile", "desk: == 2 nodes, 2 failed\n")
	wants(t, post(t, desk+"/run/load?on=web9,web1"), "web9: == failed: ", "web1: == exit 0\n", "desk: == 2 nodes, 1 failed\n")
}

// TestALiveCommandEndsWithItsClient: lines come while it runs, and a client that goes away
// ends it on all nodes.
func TestALiveCommandEndsWithItsClient(t *testing.T) {
	desk := fleet(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, desk+"/run/watch?seconds=0.01", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for seen := map[string]int{}; seen["web1"] < 3 || seen["web2"] < 3; {
		if !lines.Scan() {
			t.Fatal("the lines end: ", lines.Err())
		}
		name, _, _ := strings.Cut(lines.Text(), ":")
		seen[name]++
	}
	if n := watches(); n < 2 {
		t.Errorf("%d commands run", n)
	}
	cancel()
	eventually(t, "the commands end", func() bool { return watches() == 0 })
}

// watches are the processes of the command watch, with what it is about to start.
func watches() (n int) {
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		return -1
	}
	for _, d := range dirs {
		line, err := os.ReadFile("/proc/" + d.Name() + "/cmdline")
		if err == nil && strings.Contains(string(line), "\x00watch\x000.01\x00") {
			n++
		}
	}
	return n
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"desk"}, {"agent", "x"}, {"other", "a", "b"}} {
		if err := run(t.Context(), args, io.Discard); err == nil || !strings.Contains(err.Error(), "usage") {
			t.Errorf("%v: %v", args, err)
		}
	}
}
