package nodecmd

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// FuzzConfig: a configuration file is refused whole, as a mistake in the file with its path,
// or it has set exactly the flags that it says; and an error about a value leads to a line.
func FuzzConfig(f *testing.F) {
	for _, seed := range []string{
		"name: n1\nlisten: 127.0.0.1:4222\n", "join: [a:1, 'b:2,3']\nvoter: true\nloops: 3\n", "drain: 30s\nlog-level: debug\n", "name: a\nname: b\n", "listn: x\n", "loops:\n  a: b\n", "loops: [1, 2]\n", "name: ~\n",
		"config: x\n", "- a\n", "\"\": x\n", "a: &x [*x]\n", "x: &a b\nname: *a\n", "<<: {name: n1}\n", "name: !!binary aGk=\n", "? [a]\n: b\n", "drain: 9999999999999h\n", "name: \"\\0\"\n", "%YAML 1.2\n---\nname: a\n...\n---\nname: b\n", "\xff\xfe", "", "{", "join: [[a]]\n",
		"a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\n",
	} {
		f.Add([]byte(seed), "Listen 127.0.0.1:4222 is in use")
	}
	path := filepath.Join(f.TempDir(), "node.yaml")
	f.Fuzz(func(t *testing.T, raw []byte, said string) {
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		cmd := newStart(&program{name: defaultName})
		cmd.SetOut(io.Discard)
		lines, err := applyFile(cmd, path)
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("it took %v", took)
		}
		if err != nil {
			if bad := (fileError{}); !errors.As(err, &bad) || !strings.Contains(err.Error(), path) || lines != nil {
				t.Errorf("a mistake of no file: %v, %v", err, lines)
			}
			return
		}
		for key, line := range lines {
			flag := cmd.Flags().Lookup(key)
			if flag == nil || !configurable(key) || !flag.Changed || line < 1 || line > strings.Count(string(raw), "\n")+strings.Count(string(raw), "\r")+strings.Count(string(raw), "\u2028")+strings.Count(string(raw), "\u2029")+strings.Count(string(raw), "\u0085")+1 {
				t.Errorf("%q of line %d is set: %+v", key, line, flag)
			}
		}
		told := errors.New(said)
		if at := located(told, cmd, path, lines); !errors.Is(at, told) || !strings.HasSuffix(at.Error(), said) {
			t.Errorf("%q became %q", said, at)
		}
	})
}

// FuzzProfiles: a file of profiles is refused as a mistake in the file, or each of its
// profiles can be offered, under a name of its own.
func FuzzProfiles(f *testing.F) {
	for _, seed := range []string{
		"backup:\n  argv: [/bin/echo, -a, \"/srv/{what}\"]\n  args: {what: \"[a-z]+\"}\n", "a: {argv: [/bin/true]}\nb: {argv: [/bin/false], children: 2, max_time: 5s}\n", "a: {argv: [/bin/echo, \"{...}\"], words: \".*\"}\n",
		"a: {argv: [\"{...}\"]}\n", "a: {argv: [/bin/true], args: {x: \"(\"}}\n", "a: {}\n", "a: {argv: []}\n", "a: ~\n", "\"../x\": {argv: [/bin/true]}\n", "a: {argv: [/bin/true], usr: x}\n", "a: {argv: [/bin/true], user: nobody-of-that-name}\n", "- a\n", "{", "", "a: {argv: [/bin/true], limits: {memory: -1}}\n",
	} {
		f.Add([]byte(seed))
	}
	path := filepath.Join(f.TempDir(), "profiles.yaml")
	f.Fuzz(func(t *testing.T, raw []byte) {
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		list, err := readProfiles([]string{path})
		if err != nil {
			if bad := (fileError{}); !errors.As(err, &bad) || !strings.Contains(err.Error(), path) || list != nil {
				t.Errorf("a mistake of no file: %v", err)
			}
			return
		}
		names := map[string]bool{}
		for _, p := range list {
			if p.Name == "" || names[p.Name] || len(p.Argv) == 0 || strings.Contains(strings.Join(p.Argv, ""), "\x00") {
				t.Errorf("%+v is let through", p)
			}
			names[p.Name] = true
		}
	})
}

// FuzzContexts: the file of contexts, which people write by hand, gives addresses that a
// command can use, or a mistake in the file; what is written again is the same.
func FuzzContexts(f *testing.F) {
	for _, seed := range []string{
		"selected: home\ncontexts:\n  home: {socket: /run/loopmesh/n1.sock}\n", "contexts:\n  far: {url: \"https://10.0.0.1:8443\", token: abc}\n", "contexts:\n  a: {url: \"https://u:p@h\"}\n", "contexts:\n  a: {url: \"https://h/path?q\"}\n",
		"contexts:\n  a: {socket: x}\n", "contexts:\n  none: {socket: /x}\n", "contexts: {a: {}}\n", "contexts: [a]\n", "contexts:\n  \"a b\": {socket: /x}\n", "{", "", "other: x\n",
	} {
		f.Add([]byte(seed))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, raw []byte) {
		t.Setenv("XDG_CONFIG_HOME", dir)
		path, err := contextsPath()
		if err == nil {
			err = os.MkdirAll(filepath.Dir(path), 0o700)
		}
		if err == nil {
			err = os.WriteFile(path, raw, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		c, err := readContexts()
		if err != nil {
			if bad := (fileError{}); !errors.As(err, &bad) {
				t.Errorf("a mistake of no file: %v", err)
			}
			return
		}
		for name, one := range c.Contexts {
			if one.URL != "" {
				if u, err := checkURL(one.URL); err != nil || u.Host == "" || u.User != nil {
					t.Errorf("%q is let through: %v", one.URL, err)
				}
			}
			if name == "" || (one.Socket == "") == (one.URL == "") {
				t.Errorf("%q is let through: %+v", name, one)
			}
		}
		if err := writeContexts(path, c); err != nil {
			t.Fatal(err)
		}
		again, err := readContexts()
		if err != nil || again.Selected != c.Selected || len(again.Contexts) != len(c.Contexts) {
			t.Errorf("%+v became %+v, %v", c, again, err)
		}
	})
}

// FuzzWords: what stands behind --filter and --for is a mistake in usage, or means something
// that can be asked of every value.
func FuzzWords(f *testing.F) {
	for _, seed := range [][2]string{
		{"name=n1", "ready"}, {"measured.lag_p99_us>=10ms", "members=3,lag<50ms"}, {"a!b", "members=-1"}, {"=", "lag<"}, {"a~", ",,"}, {"!=x", "healthy , ready"}, {"a<>b", "members=99999999999999999999"}, {"a>=nan", "lag<1e400s"}, {"a=\xff", "\x00"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, filterText, wait string) {
		usage := usageError{}
		one, err := parseFilter(filterText)
		switch {
		case err != nil && !errors.As(err, &usage):
			t.Errorf("a mistake of no kind: %v", err)
		case err == nil && (one.field == "" && strings.TrimSpace(filterText[:1]) != "" || !strings.Contains(filterText, one.op)):
			t.Errorf("%q is %+v", filterText, one)
		case err == nil:
			for _, have := range []string{"", one.value, "12", "10ms", "NaN"} {
				equal := filter{one.field, "=", one.value}.holds(have)
				if equal == (filter{one.field, "!=", one.value}).holds(have) {
					t.Errorf("%q = and != %q are both %v", have, one.value, equal)
				}
			}
		}
		all, err := parseConditions(wait)
		if err != nil && !errors.As(err, &usage) || err == nil && len(all) != strings.Count(wait, ",")+1 {
			t.Errorf("%q is %d conditions, %v", wait, len(all), err)
		}
	})
}
