package nodecmd

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/loopmesh/loopmesh/cluster/admin"
)

func configFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "node.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// shown is what config show says of each key: value and origin.
func shown(t *testing.T, args ...string) map[string][2]string {
	t.Helper()
	s := loopmesh(append([]string{"config", "show", "-o", "json"}, args...)...)
	var list admin.List[admin.Setting]
	if err := json.Unmarshal([]byte(s.out), &list); err != nil || s.code != exitOK {
		t.Fatalf("%+v: %v", s, err)
	}
	out := map[string][2]string{}
	for _, i := range list.Items {
		out[i.Key] = [2]string{i.Value, i.Origin}
	}
	return out
}

func TestWhereAValueComesFrom(t *testing.T) {
	path := configFile(t, "# ours\nname: from-file\nloops: 3\nlisten: 127.0.0.1:4222\njoin: [a:1, 'b:2,3']\nvoter: true\n")
	t.Setenv("LOOPMESH_LOOPS", "5")
	t.Setenv("LOOPMESH_LISTEN", "127.0.0.1:5222")
	got := shown(t, "--config", path, "--listen", "127.0.0.1:6222")
	for key, want := range map[string][2]string{
		"name": {"from-file", path}, "join": {"a:1,b:2,3", path}, "voter": {"true", path},
		"loops": {"5", "LOOPMESH_LOOPS"}, "listen": {"127.0.0.1:6222", "command line"}, "log-level": {"warn", "default"},
	} {
		if got[key] != want {
			t.Errorf("%s: %q, want %q", key, got[key], want)
		}
	}
}

func TestTheFileCanBeNamedByAVariable(t *testing.T) {
	t.Setenv("LOOPMESH_CONFIG", configFile(t, "name: n9\n"))
	if got := shown(t); got["name"][0] != "n9" {
		t.Errorf("%q", got["name"])
	}
}

func TestAPasswordInAURLIsNotShown(t *testing.T) {
	got := shown(t, "--nats-url", "nats://anna:secret@one:4222,nats://two:4222")
	if v := got["nats-url"][0]; strings.Contains(v, "secret") || !strings.Contains(v, "anna") || !strings.Contains(v, "two:4222") {
		t.Errorf("%q", v)
	}
}

func TestMistakesInTheFile(t *testing.T) {
	for _, c := range []struct {
		text string
		errs []string
	}{
		{"name: a\nlistn: x\n", []string{":2: there is no key \"listn\"; did you mean \"listen\"?"}},
		{"log_level: info\n", []string{":1: there is no key \"log_level\"; did you mean \"log-level\"?"}},
		{"config: other.yaml\n", []string{":1: there is no key \"config\""}},
		{"xyzzy-of-nothing: 1\n", []string{"\"loopmesh config init\" lists them"}},
		{"store-sync: never\n", []string{":1: store-sync: it takes \"always\", or a duration"}},
		{"store-sync: -1s\n", []string{":1: store-sync: it takes \"always\""}},
		{"loops: many\n", []string{":1: loops:", "whole number"}},
		{"loops: [1, 2]\n", []string{":1: loops: it takes one value"}},
		{"loops:\n", []string{":1: loops: it has no value"}},
		{"loops:\n  a: b\n", []string{":2: loops: it takes a value or a list"}},
		{"join: [[a]]\n", []string{"join: it takes a list of words"}},
		{"name: a\nname: b\n", []string{"name"}},
		{"voter: perhaps\n", []string{":1: voter: it takes true or false"}},
		{"- name\n", []string{":1: a configuration is lines of the form"}},
		{"name: [\n", []string{"yaml"}},
		{"listn: x\nlops: 2\n", []string{":1:", ":2:", "listen", "loops"}},
		{strings.Repeat("# long\n", maxConfig/7+1), []string{"at most 1048576"}},
	} {
		path := configFile(t, c.text)
		for _, command := range [][]string{{"config", "check"}, {"config", "show"}, {"start"}} {
			s := loopmesh(append(command, "--config", path)...)
			if s.code != exitConfig || s.out != "" {
				t.Errorf("%s with %.30q: %+v", command, c.text, s)
			}
			for _, want := range c.errs {
				if !strings.Contains(s.errs, want) {
					t.Errorf("%s with %.30q: %q does not say %q", command, c.text, s.errs, want)
				}
			}
		}
	}
	for path, want := range map[string]string{"/no/such/file.yaml": "no such file", t.TempDir(): "is no file"} {
		if s := loopmesh("start", "--config", path); s.code != exitConfig || !strings.Contains(s.errs, want) {
			t.Errorf("%+v", s)
		}
	}
}

func TestConfigCheck(t *testing.T) {
	if s := loopmesh("config", "check", "-c", configFile(t, "name: n1\nloops: 2\n")); s.code != exitOK || s.out == "" || s.errs != "" {
		t.Errorf("%+v", s)
	}
	if s := loopmesh("config", "check", "-c", configFile(t, "join: [a:1]\nnats-url: nats://b:1\n")); s.code != exitUsage || !strings.Contains(s.errs, "exclude each other") {
		t.Errorf("%+v", s)
	}
	if s := loopmesh("config", "check", "-c", configFile(t, "")); s.code != exitOK {
		t.Errorf("an empty file: %+v", s)
	}
}

// What config init prints names every key, and is a configuration when the marks of the
// comments before the keys are taken away.
func TestConfigInit(t *testing.T) {
	s := loopmesh("config", "init")
	if s.code != exitOK || s.errs != "" {
		t.Fatalf("%+v", s)
	}
	var text strings.Builder
	for line := range strings.Lines(s.out) {
		if key, value, ok := strings.Cut(strings.TrimPrefix(line, "# "), ": "); ok && !strings.ContainsAny(key, " \"(") && strings.TrimSpace(value) != `""` {
			text.WriteString(strings.TrimPrefix(line, "# "))
		}
	}
	path := configFile(t, text.String())
	if s := loopmesh("config", "check", "-c", path); s.code != exitOK {
		t.Errorf("%+v\n%s", s, text.String())
	}
	for key := range shown(t) {
		if !strings.Contains(s.out, "\n# "+key+": ") {
			t.Errorf("%s is missing", key)
		}
	}
}

// refusals are configurations that start refuses before it opens anything, with the line of
// the file that says it.
func refusals(t *testing.T) []refusal {
	dir := t.TempDir()
	folder, empty := filepath.Join(dir, "keys"), filepath.Join(dir, "empty")
	if s := loopmesh("keys", "init", folder, "--cluster", "shop", "--node", "n2"); s.code != exitOK {
		t.Fatal(s)
	}
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "store")
	if err := os.Mkdir(other, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(other, "loopmesh.json"), []byte(`{"cluster":"loopmesh","node":"n9"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	return []refusal{
		{"name: n1\nlisten: 0.0.0.0:0\n", exitConfig, "LM1801", ":2:", "--insecure"},
		{"name: n1\nvoter: true\n", exitConfig, "LM1801", ":2:", "Voter needs Routes"},
		{"name: n1\nvoter: true\nroutes: [a:1, b:2]\n", exitConfig, "LM1801", ":3:", "use 1, 3 or 5"},
		{"name: n1\nvoter: true\nroutes: [a:1, b:2, c:3, d:4]\n", exitConfig, "LM1801", ":3:", "use 1, 3 or 5"},
		{"name: n1\nroutes: [a:1, b:2, c:3]\n", exitConfig, "LM1801", ":2:", "Voter is not set"},
		{"# ours\nname: n 1\n", exitConfig, "LM1801", ":2:", "letters, digits"},
		{"name: n2\nkeys: " + folder + "\ncluster: bank\n", exitConfig, "LM1801", ":2:", "cluster \"shop\""},
		{"name: n1\nkeys: " + dir + "/nowhere\n", exitConfig, "LM1801", ":2:", "nowhere"},
		{"name: n1\nallow: [fly]\n", exitConfig, "LM1801", ":2:", "no right"},
		{"name: n1\nstore: " + other + "\n", exitRefused, "LM1802", ":2:", "belongs to node"},
		{"name: n1\nadmin-listen: 0.0.0.0:0\n", exitConfig, "LM1008", ":2:", "other machines"},
		{"name: n1\nadmin-listen: 127.0.0.1:0\nadmin-token-file: " + empty + "\n", exitUsage, "LM1001", ":3:", "is empty"},
		{"name: n1\nnats-url: nats://127.0.0.1:1\ncredentials: " + empty + "\n", exitConfig, "LM1801", ":3:", "is empty"},
		{"name: n1\nnats-url: nats://127.0.0.1:1\nnkey: " + empty + "\n", exitConfig, "LM1801", ":3:", "is empty"},
		{"name: n1\nnats-url: nats://127.0.0.1:1\ncredentials: " + folder + "/authority/ca.pem\n", exitConfig, "LM1801", ":3:", "no NATS credentials file"},
		{"name: n1\nnats-url: nats://127.0.0.1:1\nuser: u\npassword-file: " + empty + "\n", exitUsage, "LM1001", ":4:", "is empty"},
		{"join: [a:1]\nnats-url: nats://b:1\n", exitUsage, "LM1001", ":1:", "exclude each other"},
		{"name: n1\nstore-sync: 10s\n", exitConfig, "LM1801", ":2:", "no StoreDir"},
		{"name: n1\nstore: " + dir + "/new\nstore-sync: 1h\n", exitConfig, "LM1801", ":3:", "the most is 1m"},
		{"name: n1\nchat: 127.0.0.1:0\nhandover: " + dir + "/h\n", exitUsage, "LM1001", ":3:", "--join"},
		{"name: n1\nchat: 127.0.0.1:0\nlisten: none\nstore: " + dir + "/new\nhandover: " + dir + "/h\n", exitUsage, "LM1001", ":5:", "--store"},
		{"name: n1\njoin: [127.0.0.1:1]\nhandover: " + dir + "/h\n", exitUsage, "LM1001", ":3:", "no service"},
		{"name: n1\nloops: 1000\n", exitUsage, "LM1001", ":2:", "0 to 256"},
	}
}

type refusal struct {
	text              string
	exit              int
	code, line, words string
}

// TestCheckRefusesWhatStartRefuses: the same text, code and exit code, and the line.
func TestCheckRefusesWhatStartRefuses(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	for _, c := range refusals(t) {
		path := configFile(t, c.text)
		checked, started := loopmesh("config", "check", "--config", path), loopmesh("start", "--config", path)
		for command, s := range map[string]said{"config check": checked, "start": started} {
			if s.code != c.exit || s.out != "" {
				t.Errorf("%s with %q: %+v", command, c.text, s)
			}
			for _, want := range []string{path + c.line, c.code, c.words} {
				if !strings.Contains(s.errs, want) {
					t.Errorf("%s with %q: %q does not say %q", command, c.text, s.errs, want)
				}
			}
		}
		first := func(s said) string { text, _, _ := strings.Cut(s.errs, "\n"); return text }
		if first(checked) != first(started) {
			t.Errorf("%q: check says %q, start says %q", c.text, checked.errs, started.errs)
		}
	}
}

// TestCheckOpensNothing: it takes neither the store nor the port, nor makes a folder.
func TestCheckOpensNothing(t *testing.T) {
	store := filepath.Join(t.TempDir(), "store")
	path := configFile(t, "name: n1\nlisten: 127.0.0.1:1\nstore: "+store+"\nadmin-listen: 127.0.0.1:1\n")
	if s := loopmesh("config", "check", "--config", path); s.code != exitOK {
		t.Errorf("%+v", s)
	}
	if _, err := os.Stat(store); err == nil {
		t.Error("config check has made the store")
	}
}
