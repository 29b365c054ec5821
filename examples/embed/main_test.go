package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/internal/leaktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: m}) }

const patience = 20 * time.Second

// program runs the example and gives its address and what it prints.
func program(t *testing.T) (at string, printed func() string) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, "127.0.0.1:0", w) }()
	lines := make(chan string, 10)
	go func() {
		for in := bufio.NewScanner(r); in.Scan(); {
			lines <- in.Text()
		}
		close(lines)
	}()
	printed = func() string {
		select {
		case line := <-lines:
			return line
		case <-time.After(patience):
			t.Fatal("it says nothing")
			return ""
		}
	}
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		_ = w.Close()
	})
	return strings.TrimPrefix(printed(), "on "), printed
}

func TestEmbed(t *testing.T) {
	at, printed := program(t)
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	ask := func(method, name, body string) (int, string) {
		r, err := http.NewRequest(method, "http://"+at+"/"+name, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	for _, c := range []struct {
		what, method, name, body string
		code                     int
		say                      string
	}{
		{"a goroutine asks an actor, which asks one on another loop", "POST", "alice", "5", 200, "alice has 5 after 1 deposits in this life\n"},
		{"an actor keeps its state", "POST", "alice", "6", 200, "alice has 11 after 2 deposits in this life\n"},
		{"a fault is an error for whoever asked", "POST", "alice", "five", 500, "invalid syntax"},
		{"a new life begins anew; the other loop remembers", "POST", "alice", "1", 200, "alice has 12 after 1 deposits in this life\n"},
		{"the others did not notice", "POST", "bob", "3", 200, "bob has 3 after 1 deposits in this life\n"},
		{"a name that cannot be an address is refused", "POST", "a@b/", "3", 500, "address"},
		{"it is ended from outside", "DELETE", "alice", "", 200, "ending alice\n"},
	} {
		code, say := ask(c.method, c.name, c.body)
		if code != c.code || !strings.Contains(say, c.say) {
			t.Errorf("%s: %d %q", c.what, code, say)
		}
	}
	if got := printed(); !strings.HasPrefix(got, "alice ended: ") {
		t.Errorf("the watcher noted %q", got)
	}
	if _, say := ask("POST", "alice", "1"); say != "alice has 13 after 1 deposits in this life\n" {
		t.Errorf("an account that ended is opened again: %q", say)
	}
}
