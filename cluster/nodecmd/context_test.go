package nodecmd

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/cluster"
	"github.com/loopmesh/loopmesh/cluster/admin"
)

const secret = "0123456789abcdef-secret"

// remote is a node with an admin API over TCP and on a socket, and the file with its token.
func remote(t *testing.T) (address, socket, tokenFile string) {
	t.Helper()
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(t.TempDir(), "config"))
	node, err := cluster.Start(context.Background(), cluster.Config{Name: "far"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(node.Close)
	server, err := admin.Open(node, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	at, err := server.ListenTCP("127.0.0.1:0", secret)
	if err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(t.TempDir(), "far.sock")
	if err := server.Listen(socket); err != nil {
		t.Fatal(err)
	}
	tokenFile = filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(tokenFile, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return "http://" + at.String(), socket, tokenFile
}

func TestContexts(t *testing.T) {
	address, socket, tokenFile := remote(t)
	call := []string{"func", "call", "test.echo", `"x"`, "--on", "far/admin"}
	good := func(args ...string) said {
		t.Helper()
		s := loopmesh(args...)
		if s.code != exitOK || s.errs != "" || strings.Contains(s.out, secret) {
			t.Errorf("%q: %+v", args, s)
		}
		return s
	}
	if s := loopmesh("ls"); s.code != exitUnreachable {
		t.Fatalf("without a context: %+v", s)
	}
	good("context", "save", "prod", "--url", address, "--token-file", tokenFile)
	good("context", "save", "bare", "--url", address)
	good("context", "save", "here", "--socket", socket)
	t.Run("each is a target", func(t *testing.T) {
		for _, name := range []string{"prod", "bare", "here"} {
			if s := good("ls", "--context", name, "-o", "name"); s.out != "far\n" {
				t.Errorf("%s: %+v", name, s)
			}
		}
		for _, name := range []string{"prod", "here"} {
			if s := good(append(call, "--context", name)...); s.out != "\"x\"\n" {
				t.Errorf("%s: %+v", name, s)
			}
		}
		if s := loopmesh(append(call, "--context", "bare")...); s.code != exitRefused {
			t.Errorf("an order without the token: %+v", s)
		}
		t.Setenv("LOOPMESH_CONTEXT", "prod")
		if s := good("ls", "-o", "name"); s.out != "far\n" {
			t.Errorf("%+v", s)
		}
	})
	t.Run("the selected one serves all commands", func(t *testing.T) {
		good("context", "select", "prod")
		good(call...)
		if s := good("context", "ls", "--no-headers", "--filter", "selected=true"); s.out != "prod  yes  "+address+"  kept\n" {
			t.Errorf("%+v", s)
		}
		if s := loopmesh("ls", "--node", "n9"); s.code != exitNotFound || !strings.Contains(s.errs, `no node "n9"`) {
			t.Errorf("--node does not win over what is selected: %+v", s)
		}
		if s := loopmesh("__complete", "ls", "--context", ""); !strings.Contains(s.out, "prod") {
			t.Errorf("%+v", s)
		}
		good("context", "select", "none")
		if s := loopmesh("ls"); s.code != exitUnreachable {
			t.Errorf("%+v", s)
		}
	})
	t.Run("the token is in a file that nobody else reads, and nowhere else", func(t *testing.T) {
		for _, format := range formats {
			good("context", "ls", "-o", format)
			good("context", "show", "prod", "-o", format)
		}
		path, err := contextsPath()
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Fatal(info.Mode(), err)
		}
		if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".contexts-*")); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
		if s := loopmesh("ls", "--socket", socket); s.code != exitOK {
			t.Errorf("a socket needs no context: %+v", s)
		}
		if s := loopmesh("ls"); s.code != exitConfig || !strings.Contains(s.errs, "chmod 600") {
			t.Errorf("%+v", s)
		}
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("mistakes change nothing", func(t *testing.T) {
		before := good("context", "ls", "-o", "jsonl").out
		for _, c := range []struct {
			args string
			code int
			errs string
		}{
			{"ls --context typo", exitNotFound, "contexts: bare, here, prod"},
			{"context select typo", exitNotFound, "LM3192"},
			{"context rm typo", exitNotFound, "LM3192"},
			{"context show typo", exitNotFound, "LM3192"},
			{"context save prod --url " + address, exitRefused, "LM3193"},
			{"context save x", exitUsage, "either a socket or a url"},
			{"context save none --node n1", exitUsage, "not \"none\""},
			{"context save a/b --node n1", exitUsage, "letters"},
			{"context save x --url ftp://h", exitUsage, "has to begin with"},
			{"context save x --url https://me:pass@h", exitUsage, "--token-file"},
			{"context save x --url https://h/path", exitUsage, "more than a host"},
			{"context save x --socket /s --token-file " + tokenFile, exitUsage, "takes no token"},
			{"context save x --url http://10.0.0.1:80 --token-file " + tokenFile, exitUsage, "without TLS"},
			{"context save x --url https://h --token-file /dev/null", exitUsage, "--token-file"},
		} {
			if s := loopmesh(strings.Fields(c.args)...); s.code != c.code || s.out != "" || !strings.Contains(s.errs, c.errs) || strings.Contains(s.errs, "me:pass") {
				t.Errorf("%s: %+v", c.args, s)
			}
		}
		if after := good("context", "ls", "-o", "jsonl").out; after != before {
			t.Errorf("%s became %s", before, after)
		}
	})
	t.Run("one that is removed is gone, and its selection", func(t *testing.T) {
		good("context", "save", "bare", "--url", address, "--replace", "--select")
		good("context", "rm", "bare")
		if s := good("context", "ls", "-o", "name"); s.out != "here\nprod\n" {
			t.Errorf("%+v", s)
		}
		if s := loopmesh("ls"); s.code != exitUnreachable {
			t.Errorf("%+v", s)
		}
	})
}

// A token goes to the host that it is for and to no other: a redirection is not followed.
func TestTokenStaysWithItsHost(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	var met atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { met.Add(1) }))
	defer other.Close()
	asked := ""
	first := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.Header.Get("Authorization")
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	}))
	defer first.Close()
	client, err := admin.NewRemoteClient(first.URL, secret)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Self(context.Background()); err == nil || met.Load() != 0 || asked != "Bearer "+secret {
		t.Errorf("%v, the other host was asked %d times, this one with %q", err, met.Load(), asked)
	}
}

// Two commands that change the file at once: one is refused, and nothing is lost.
func TestContextsAtOnce(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	err := changeContexts(func(*contexts) error {
		if s := loopmesh("context", "save", "late", "--node", "n1"); s.code != exitRefused || !strings.Contains(s.errs, "LM3194") {
			t.Errorf("%+v", s)
		}
		return nil
	})
	if s := loopmesh("context", "save", "late", "--node", "n1"); err != nil || s.code != exitOK {
		t.Errorf("%v, %+v", err, s)
	}
}
