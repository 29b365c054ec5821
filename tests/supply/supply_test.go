package supply

import (
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/internal/leaktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: m}) }

//go:embed dependencies.txt
var dependencies string

// module is a line of the list.
type module struct{ path, version, licence, why string }

func parse(text string) (list []module, wrong []string) {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) < 5 { // a reason has some words
			wrong = append(wrong, line)
			continue
		}
		list = append(list, module{fields[0], fields[1], fields[2], strings.Join(fields[3:], " ")})
	}
	return list, wrong
}

// built is what the go command builds on Linux: path, version and folder of each module.
func built(t *testing.T) [][3]string {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-test", "-tags", "foreign,netns", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}\t{{.Version}}\t{{.Dir}}{{end}}{{end}}", "./...")
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var list [][3]string
	for _, line := range slices.Compact(slices.Sorted(strings.Lines(string(out)))) {
		if f := strings.Split(strings.TrimSpace(line), "\t"); len(f) == 3 {
			list = append(list, [3]string(f))
		}
	}
	if len(list) < 20 {
		t.Fatalf("the go command lists only %d modules", len(list))
	}
	return list
}

// compare says what is wrong with the list.
func compare(list []module, have [][3]string, licence func(dir string) string) (wrong []string) {
	known := map[string]module{}
	for _, m := range list {
		known[m.path] = m
	}
	for _, h := range have {
		m, ok := known[h[0]]
		delete(known, h[0])
		switch {
		case !ok:
			wrong = append(wrong, h[0]+" "+h[1]+" is built in and has no line")
		case m.version != h[1]:
			wrong = append(wrong, h[0]+" is "+h[1]+", the list says "+m.version)
		case licence(h[2]) != m.licence:
			wrong = append(wrong, h[0]+" has the licence "+licence(h[2])+", the list says "+m.licence)
		}
	}
	for path := range known {
		wrong = append(wrong, path+" has a line and is not built in")
	}
	return wrong
}

func TestDependencies(t *testing.T) {
	list, wrong := parse(dependencies)
	for _, w := range append(wrong, compare(list, built(t), licenceOf)...) {
		t.Error(w)
	}
}

// marks are words of a licence that no other one of the list has.
var marks = []struct{ words, name string }{
	{"Apache License", "Apache-2.0"},
	{"Mozilla Public License", "MPL-2.0"},
	{"Permission is hereby granted, free of charge", "MIT"},
	{"Permission to use, copy, modify, and/or distribute", "ISC"},
	{"Neither the name of", "BSD-3-Clause"},
	{"may be used to endorse", "BSD-3-Clause"},
	{"Redistribution and use in source and binary forms", "BSD-2-Clause"},
}

// licenceOf reads which licence a module's folder holds.
func licenceOf(dir string) string {
	for _, name := range []string{"LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "License", "license.txt", "COPYING"} {
		if raw, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			return recognise(string(raw))
		}
	}
	return "none"
}

func recognise(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	for _, m := range marks {
		if strings.Contains(text, m.words) {
			return m.name
		}
	}
	return "unknown"
}

// TestPlanted: what the list has to be refused for is noticed.
func TestPlanted(t *testing.T) {
	licence := func(dir string) string { return dir }
	have := [][3]string{{"a", "v1", "MIT"}}
	for want, list := range map[string]string{
		"a v1 is built in and has no line":         "",
		"a is v1, the list says v2":                "a v2 MIT it is needed",
		"a has the licence MIT, the list says BSD": "a v1 BSD it is needed",
		"b has a line and is not built in":         "a v1 MIT it is needed\nb v1 MIT it is needed",
		"":                                         "# a comment\n\na v1 MIT it is needed\n",
	} {
		mods, wrong := parse(list)
		wrong = append(wrong, compare(mods, have, licence)...)
		if got := strings.Join(wrong, "; "); got != want {
			t.Errorf("said %q, want %q", got, want)
		}
	}
	if _, wrong := parse("a v1 MIT needed\n"); len(wrong) != 1 {
		t.Error("a line without a reason passes")
	}
	for text, want := range map[string]string{"": "unknown", "Permission is hereby granted,\nfree of charge": "MIT"} {
		if got := recognise(text); got != want {
			t.Errorf("%q is taken for %s", text, got)
		}
	}
}
