package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/internal/leaktest"
	"github.com/loopmesh/loopmesh/tests/conformance/ledger"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: m}) }

// tree makes a module with books and one test that claims SCH-01.
func tree(t *testing.T, required string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":                           "module m\n",
		"tests/conformance/ids.txt":        "SCH-01\tScheduling\tin order\nSCH-02\tScheduling\tnext turn\nFUT-11\tFutures\tno stop signal\n",
		"tests/conformance/differences.md": "- FUT-11 (n/a): there is no such signal in the language at all\n- SCH-02 (differs): here it is done in another way, for a reason\n",
		"tests/conformance/required.txt":   required,
		"a/a_test.go":                      "package a\nfunc T(t *testing.T) { t.Run(\"SCH-01 x\", func(t *testing.T) { t.Fatal() }) }\n",
	} {
		file := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func results(t *testing.T, action string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "run.json")
	text := `{"Action":"run","Package":"a","Test":"T/SCH-01_x"}` + "\n" + `{"Action":"` + action + `","Package":"a","Test":"T/SCH-01_x"}` + "\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func report(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	var out, errs bytes.Buffer
	code = run(args, null, &out, &errs)
	return code, out.String(), errs.String()
}

func TestTable(t *testing.T) {
	code, out, _ := report(t, "-root", tree(t, ""), "-from", results(t, "pass"))
	if code != exitOK {
		t.Errorf("code %d, output %s", code, out)
	}
	for _, want := range []string{
		"AREA  TITLE       ALL  PASSED  FAILED  N/A  NOT YET\n",
		"SCH   Scheduling  2    1       0       0    1\n",
		"FUT   Futures     1    0       0       1    0\n",
		"      total       3    1       0       1    1\n",
		"\nnot yet (1)\n  SCH-02\n",
		"\nnot applicable (1)\n  FUT-11\n",
		"\ndiffers on purpose, see differences.md (1)\n  SCH-02\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestFailureAndRequirementFail(t *testing.T) {
	code, out, _ := report(t, "-root", tree(t, "SCH-01\n"), "-from", results(t, "fail"))
	if code != exitFailed || !strings.Contains(out, "SCH-01 failed in a T/SCH-01_x") || !strings.Contains(out, "SCH-01 is required and is failed") {
		t.Errorf("code %d\n%s", code, out)
	}
}

func TestJSON(t *testing.T) {
	root, from := tree(t, ""), results(t, "pass")
	for _, args := range [][]string{{"-json"}, {"-o", "json"}} {
		code, out, _ := report(t, append(args, "-root", root, "-from", from)...)
		var a ledger.Account
		if err := json.Unmarshal([]byte(out), &a); err != nil || code != exitOK {
			t.Fatalf("code %d, error %v, output %s", code, err, out)
		}
		if !a.Ran || len(a.Entries) != 3 || a.Entries[0].State != ledger.Passed || a.Problems == nil {
			t.Errorf("account %+v", a)
		}
	}
}

func TestWithoutResults(t *testing.T) {
	code, out, _ := report(t, "-root", tree(t, "SCH-01\n"))
	if code != exitOK || !strings.Contains(out, "No test results were read") || !strings.Contains(out, "claimed by tests that did not run (1)\n  SCH-01") {
		t.Errorf("code %d\n%s", code, out)
	}
}

func TestRequireWritesTheList(t *testing.T) {
	root := tree(t, "")
	if code, out, errs := report(t, "-root", root, "-require", "-from", results(t, "pass")); code != exitOK {
		t.Fatalf("code %d, output %s%s", code, out, errs)
	}
	list, err := os.ReadFile(filepath.Join(root, "tests", "conformance", "required.txt"))
	if err != nil || !strings.HasSuffix(string(list), "\nSCH-01\n") {
		t.Errorf("list %q, error %v", list, err)
	}
}

func TestUsage(t *testing.T) {
	if code, _, errs := report(t, "-o", "yaml"); code != exitUsage || !strings.Contains(errs, "must be table or json") {
		t.Errorf("code %d, %s", code, errs)
	}
	if code, _, errs := report(t, "-root", tree(t, ""), "-from", "no such file"); code != exitFailed || !strings.Contains(errs, "no such file") {
		t.Errorf("code %d, %s", code, errs)
	}
}
