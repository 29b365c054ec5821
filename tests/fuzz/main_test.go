package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// module makes a module with files, and returns its folder.
func module(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	files["go.mod"] = "module example.com/m\n\ngo 1.26\n"
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

const (
	quiet = "package a\n\nimport \"testing\"\n\nfunc FuzzQuiet(f *testing.F) { f.Fuzz(func(*testing.T, []byte) {}) }\n"
	finds = "package b\n\nimport \"testing\"\n\nfunc FuzzFinds(f *testing.F) {\n\tf.Add([]byte{})\n\tf.Fuzz(func(t *testing.T, b []byte) {\n\t\tif len(b) > 3 {\n\t\t\tt.Error(\"long\")\n\t\t}\n\t})\n}\n"
)

// TestTargetsAreFoundAndRun: what a target finds is kept and told, and the others run all
// the same.
func TestTargetsAreFoundAndRun(t *testing.T) {
	root := module(t, map[string]string{
		"a/a_test.go": quiet, "b/b_test.go": finds, "a/more_test.go": "package a\n\nfunc helper() {}\n", "bin/x/a_test.go": quiet, "c/testdata/a_test.go": quiet,
	})
	all, err := targets(t.Context(), root, "")
	if want := []target{{"./a", "FuzzQuiet"}, {"./b", "FuzzFinds"}}; err != nil || !slices.Equal(all, want) {
		t.Fatal(all, err)
	}
	var out strings.Builder
	err = tryAll([]target{all[1], all[0]}, &out, func(one target) (result, error) {
		return fuzz(t.Context(), root, one, time.Second, 1, &out)
	})
	if err == nil || !strings.Contains(err.Error(), "1 of 2 targets found something") {
		t.Errorf("%v\n%s", err, out.String())
	}
	if kept, err := os.ReadDir(filepath.Join(root, "b/testdata/fuzz/FuzzFinds")); err != nil || len(kept) != 1 {
		t.Error(kept, err)
	}
	if isFile(filepath.Join(root, "a/testdata")) || !strings.Contains(out.String(), "| ./b FuzzFinds | ") || !strings.Contains(out.String(), "FOUND") || !strings.Contains(out.String(), "| ok |") {
		t.Error(out.String())
	}
}

func TestTheTableOfARun(t *testing.T) {
	var out strings.Builder
	bad := errors.New("exit status 1")
	err := tryAll([]target{{"./a", "FuzzA"}, {"./b", "FuzzB"}}, &out, func(one target) (result, error) {
		if one.pkg == "./a" {
			return result{"7", "1", time.Second}, bad
		}
		return result{"900", "3", time.Minute}, nil
	})
	if err == nil || !strings.Contains(out.String(), "| ./a FuzzA | 7 | 1 | 1s | FOUND: exit status 1 |\n| ./b FuzzB | 900 | 3 | 1m0s | ok |") {
		t.Error(err, out.String())
	}
}

func TestNoTargetIsAnError(t *testing.T) {
	t.Chdir(module(t, map[string]string{"a/a_test.go": quiet}))
	if err := run(t.Context(), []string{"-only", "other"}, &strings.Builder{}); err == nil {
		t.Error("no error")
	}
	var out strings.Builder
	if err := run(t.Context(), []string{"-list"}, &out); err != nil || out.String() != "./a FuzzQuiet\n" {
		t.Error(out.String(), err)
	}
}

func TestWords(t *testing.T) {
	one := target{"./internal/wire", "FuzzBatch"}
	for words, want := range map[string]bool{"": true, "wire": true, "x|Batch": true, "x|y": false} {
		if one.has(words) != want {
			t.Error(words)
		}
	}
}

func TestFigures(t *testing.T) {
	m := progress.FindStringSubmatch("fuzz: elapsed: 3s, execs: 102 (34/sec), new interesting: 12 (total: 20)")
	if len(m) != 3 || m[1] != "102" || m[2] != "12" {
		t.Error(m)
	}
}
