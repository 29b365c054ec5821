package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/internal/leaktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: m}) }

// TestEveryRowApplies: a row whose old text is gone would test nothing.
func TestEveryRowApplies(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	rows, err := load(tables)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	for _, r := range rows {
		text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(r.file)))
		if err == nil {
			_, err = r.apply(string(text))
		}
		if err != nil {
			t.Errorf("%s: %v", r.at, err)
		}
		if before := names[r.name]; before != "" {
			t.Errorf("%s and %s have the same name", before, r.at)
		}
		names[r.name] = r.at
	}
}

func TestParse(t *testing.T) {
	rows, err := parse("t.txt", strings.NewReader(`
# One.
file a/b.go
test ./a ./b -run X
quick
time 3s
- 	if x {
- 		y()
+ 	if !x {

# Two.
file c.go
test ./c
equivalent nobody can see it
- z
`))
	if err != nil || len(rows) != 2 {
		t.Fatal(rows, err)
	}
	one, two := rows[0], rows[1]
	if one.name != "One." || one.at != "t.txt:2" || one.file != "a/b.go" || len(one.test) != 4 || !one.quick || one.limit.Seconds() != 3 || len(one.old) != 2 || len(one.new) != 1 {
		t.Errorf("%+v", one)
	}
	if two.at != "t.txt:11" || two.quick || two.limit != defaultLimit || two.equivalent != "nobody can see it" || len(two.new) != 0 {
		t.Errorf("%+v", two)
	}
	for name, text := range map[string]string{
		"no old text": "# A.\nfile a.go\ntest ./a\n+ x\n", "no file": "# A.\ntest ./a\n- x\n", "no name": "file a.go\ntest ./a\n- x\n",
		"a word that is unknown": "# A.\nfile a.go\ntest ./a\n- x\nslow\n", "a time that is none": "# A.\nfile a.go\ntest ./a\n- x\ntime soon\n",
	} {
		if _, err := parse("t.txt", strings.NewReader(text)); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestApply(t *testing.T) {
	const text = "a\n\tb // why\n\tc\nd\n\tb\n"
	for _, one := range []struct {
		old, new []string
		want     string // "" means stale
	}{
		{[]string{"b", "c"}, []string{"x"}, "a\nx\nd\n\tb\n"},
		{[]string{"d"}, nil, "a\n\tb // why\n\tc\n\tb\n"},
		{[]string{"b"}, nil, ""},                        // twice
		{[]string{"e"}, nil, ""},                        // nowhere
		{[]string{"c", "b"}, nil, ""},                   // not in this order
		{[]string{"c"}, []string{"  c"}, ""},            // it changes nothing
		{[]string{"b", "c", "d", "b", "", ""}, nil, ""}, // longer than the file
	} {
		r := row{file: "f.go", old: one.old, new: one.new}
		got, err := r.apply(text)
		if got != one.want || errors.Is(err, errStale) != (one.want == "") {
			t.Errorf("%q: %q, %v", one.old, got, err)
		}
	}
}

// TestOutcomes plants every kind of mutant in a module of its own.
func TestOutcomes(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":    "module planted\n\ngo 1.26\n",
		"a.go":      "package planted\n\nfunc Sum(a, b int) int {\n\treturn a + b\n}\n\nfunc untested() int {\n\treturn 1\n}\n",
		"a_test.go": "package planted\n\nimport \"testing\"\n\nfunc TestSum(t *testing.T) {\n\tif Sum(1, 2) != 3 {\n\t\tt.Error(\"wrong\")\n\t}\n}\n",
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	change := func(name, old, new string, test ...string) row {
		return row{name: name, file: "a.go", test: append(test, "."), old: []string{old}, new: []string{new}, limit: defaultLimit}
	}
	equivalent := change("noticed but said to be equivalent", "return a + b", "return a - b")
	equivalent.equivalent = "a claim"
	silent := change("equivalent", "return 1", "return 2")
	silent.equivalent = "nobody calls it"
	untried := change("untried", "return 1", "return 3")
	untried.untried = true
	rows := []row{
		change("noticed", "return a + b", "return a - b"),
		change("survivor", "return 1", "return 2"),
		change("does not compile", "return 1", "return \"\""),
		change("stale", "return 3", "return 4"),
		change("no test", "return a + b", "return a - b", "-run=Nothing"),
		equivalent, silent, untried,
	}
	var out strings.Builder
	err := tryAll(t.Context(), root, rows, 2, &out)
	if err == nil || !strings.Contains(err.Error(), "1 mutants survived") || !strings.Contains(err.Error(), "4 rows are wrong") {
		t.Errorf("%v", err)
	}
	for _, line := range []string{
		": noticed (TestSum", "SURVIVED   : survivor", "WRONG      : does not compile (it does not compile", "WRONG      : stale (stale row",
		"WRONG      : no test (its -run names no test", "WRONG      : noticed but said to be equivalent", "equivalent : equivalent (nobody calls it)", "UNTRIED    : untried (it survives",
		"1 noticed, 1 equivalent, 1 survived, 1 survived their first try, 4 rows are wrong",
	} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("%q is missing in\n%s", line, &out)
		}
	}
	if raw, err := os.ReadFile(filepath.Join(root, "a.go")); err != nil || strings.Contains(string(raw), "a - b") {
		t.Errorf("the tree was changed: %v", err)
	}
}

func TestFirstFailure(t *testing.T) {
	for out, want := range map[string]string{
		"ok\n--- FAIL: TestA (0.01s)\n    --- FAIL: TestA/b\nFAIL\n": "TestA (0.01s)",
		"panic: test timed out after 2m0s\n--- FAIL: TestB\n":        "panic: test timed out after 2m0s",
		"FAIL\tx\t0.1s\n": "a failure outside of any test",
	} {
		if got := firstFailure(out); got != want {
			t.Errorf("%q: %q, want %q", out, got, want)
		}
	}
}
