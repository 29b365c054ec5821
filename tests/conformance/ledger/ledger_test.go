package ledger

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/internal/leaktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: m}) }

// books is a small catalogue: two areas, one behaviour that does not apply.
func books(extra map[string]string) fstest.MapFS {
	files := map[string]string{
		"ids.txt":        "SCH-01\tScheduling\tin order\nSCH-02\tScheduling\tnext turn\nFUT-11\tFutures\tno stop signal\n",
		"differences.md": "# Why\nprose\n- FUT-11 (n/a): there is no such signal in the language at all\n",
		"required.txt":   "# kept by the report\n",
	}
	for name, text := range extra {
		files[name] = text
	}
	fsys := fstest.MapFS{}
	for name, text := range files {
		if !strings.Contains(name, "/") {
			name = Dir + "/" + name
		}
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return fsys
}

// balance runs the whole report over made-up books, tests and results.
func balance(t *testing.T, extra map[string]string, results string) *Account {
	t.Helper()
	fsys := books(extra)
	c, err := ReadCatalogue(fsys)
	if err != nil {
		t.Fatal(err)
	}
	claims, err := Scan(fsys)
	if err != nil {
		t.Fatal(err)
	}
	if results == "" {
		return Balance(c, claims, nil)
	}
	r, err := ReadResults(strings.NewReader(results))
	if err != nil {
		t.Fatal(err)
	}
	return Balance(c, claims, r)
}

func wantProblems(t *testing.T, a *Account, want ...string) {
	t.Helper()
	if len(a.Problems) != len(want) {
		t.Fatalf("problems %q, want %d of them: %q", a.Problems, len(want), want)
	}
	for i := range want {
		if !strings.Contains(a.Problems[i], want[i]) {
			t.Errorf("problem %q does not say %q", a.Problems[i], want[i])
		}
	}
}

func wantStates(t *testing.T, a *Account, want ...State) {
	t.Helper()
	var got []State
	for _, e := range a.Entries {
		got = append(got, e.State)
	}
	if !slices.Equal(got, want) {
		t.Errorf("states %v, want %v", got, want)
	}
}

const passing = "func TestX(t *testing.T) { t.Run(\"SCH-01 SCH-02 both\", func(t *testing.T) { t.Error(1) }) }\n"

func line(action, test string) string {
	return `{"Action":"` + action + `","Package":"p","Test":"` + test + `"}` + "\n"
}

func TestStates(t *testing.T) {
	began := "# build output\n" + line("run", "TestX") + line("run", "TestX/SCH-01_SCH-02_both")
	done := began + line("pass", "TestX/SCH-01_SCH-02_both") + line("pass", "TestX")
	tests := map[string]string{"a/a_test.go": "package a\n" + passing}

	t.Run("one name claims several", func(t *testing.T) {
		a := balance(t, tests, done)
		wantStates(t, a, Passed, Passed, NotApplicable)
		wantProblems(t, a)
		if a.Count("", Passed) != 2 || a.Count("Futures", NotApplicable) != 1 {
			t.Errorf("counts are wrong: %+v", a)
		}
	})
	t.Run("without a run nothing is proven and nothing is missed", func(t *testing.T) {
		a := balance(t, map[string]string{"a/a_test.go": "package a\n" + passing, "required.txt": "SCH-01\n"}, "")
		wantStates(t, a, NotYet, NotYet, NotApplicable)
		wantProblems(t, a)
	})
	t.Run("a failure wins over a pass elsewhere", func(t *testing.T) {
		a := balance(t, tests, done+line("run", "TestY/SCH-02_again")+line("fail", "TestY/SCH-02_again"))
		wantStates(t, a, Passed, Failed, NotApplicable)
		wantProblems(t, a, "SCH-02 failed in p TestY/SCH-02_again")
	})
	t.Run("a failure wins over a pass of the same test", func(t *testing.T) {
		a := balance(t, tests, done+line("run", "TestX/SCH-01_SCH-02_both")+line("fail", "TestX/SCH-01_SCH-02_both"))
		wantStates(t, a, Failed, Failed, NotApplicable)
	})
	t.Run("a test that never ended has failed", func(t *testing.T) {
		a := balance(t, tests, began)
		wantStates(t, a, Failed, Failed, NotApplicable)
	})
	t.Run("a skipped test proves nothing", func(t *testing.T) {
		a := balance(t, tests, began+line("skip", "TestX/SCH-01_SCH-02_both"))
		wantStates(t, a, NotYet, NotYet, NotApplicable)
		wantProblems(t, a)
	})
	t.Run("a parent's name is not its child's", func(t *testing.T) {
		a := balance(t, tests, line("run", "TestZ/SCH-01_x/case")+line("pass", "TestZ/SCH-01_x/case"))
		wantStates(t, a, NotYet, NotYet, NotApplicable)
	})
	t.Run("a second test of the same name counts", func(t *testing.T) {
		a := balance(t, tests, line("run", "TestZ/SCH-01#01")+line("pass", "TestZ/SCH-01#01"))
		wantStates(t, a, Passed, NotYet, NotApplicable)
	})
}

func TestProblems(t *testing.T) {
	ran := line("run", "TestX")
	for _, tc := range []struct {
		name  string
		extra map[string]string
		run   string
		want  []string
	}{
		{"unknown ID in Run", map[string]string{"a/a_test.go": "package a\nfunc T(t *testing.T) { t.Run(\"SCH-77 x\", func(t *testing.T) { t.Fatal() }) }\n"},
			ran, []string{"a/a_test.go:2: claims SCH-77"}},
		{"unknown area in Run", map[string]string{"a/a_test.go": "package a\nfunc T(t *testing.T) { t.Run(\"ZZZ-01 x\", func(t *testing.T) { t.Fatal() }) }\n"},
			ran, []string{"claims ZZZ-01"}},
		{"unknown ID in a table", map[string]string{"a/a_test.go": "package a\nfunc T(t *testing.T) { for range []string{\"SCH-78 x\", \"UTF-16 text\"} { t.Fatal() } }\n"},
			ran, []string{"claims SCH-78"}},
		{"unknown ID in the run", nil, line("run", "T/SCH-79_x") + line("pass", "T/SCH-79_x"), []string{"T/SCH-79_x claims SCH-79"}},
		{"not applicable and claimed", map[string]string{"a/a_test.go": "package a\nfunc T(t *testing.T) { t.Run(\"FUT-11 x\", func(t *testing.T) { t.Fatal() }) }\n"},
			ran, []string{"FUT-11 is not applicable"}},
		{"not applicable and run", nil, line("run", "T/FUT-11_x") + line("pass", "T/FUT-11_x"), []string{"FUT-11 is not applicable"}},
		{"required and missing", map[string]string{"required.txt": "SCH-01\nSCH-02\n"}, line("run", "T/SCH-02_x") + line("pass", "T/SCH-02_x"),
			[]string{"SCH-01 is required and is not yet"}},
		{"claims without asserting", map[string]string{"a/a_test.go": "package a\nfunc T(t *testing.T) { t.Run(\"SCH-01 x\", func(t *testing.T) { l := newLoop(t); l.Close() }) }\n"},
			ran, []string{"asserts nothing"}},
	} {
		t.Run(tc.name, func(t *testing.T) { wantProblems(t, balance(t, tc.extra, tc.run), tc.want...) })
	}
}

func TestCatalogueRefuses(t *testing.T) {
	for _, tc := range []struct{ name, file, text, want string }{
		{"a row without tabs", "ids.txt", "SCH-01 in order\n", "ids.txt:1: want ID, area and text"},
		{"a row twice", "ids.txt", "SCH-01\ta\tb\nSCH-01\ta\tb\n", "ids.txt:2: SCH-01 is there twice"},
		{"another form", "differences.md", "- SCH-01: because\n", "differences.md:1: want"},
		{"an unknown difference", "differences.md", "- SCH-09 (n/a): a reason that is long enough to be read\n", "SCH-09 is not in"},
		{"a difference twice", "differences.md", strings.Repeat("- SCH-01 (differs): a reason that is long enough to be read\n", 2), ":2: SCH-01 is there twice"},
		{"a thin reason", "differences.md", "- SCH-01 (differs): not needed\n", "too short to convince"},
		{"an unknown requirement", "required.txt", "\nSCH-09\n", "required.txt:2: SCH-09"},
		{"an impossible requirement", "required.txt", "FUT-11\n", "required and not applicable"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := ReadCatalogue(books(map[string]string{tc.file: tc.text}))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

func TestAssertionsAreSeen(t *testing.T) {
	head := "package a\nfunc helper(t *testing.T) { t.Log() }\nfunc proves(t *testing.T) { t.Fatal() }\nfunc talks(t *testing.T) { t.Log() }\n"
	for _, tc := range []struct {
		name, body string
		want       bool
	}{
		{"own words", "func(t *testing.T) { if x { t.Errorf(\"\") } }", true},
		{"in a callback", "func(t *testing.T) { l.CallSoon(func() { t.Error() }) }", true},
		{"a helper as a statement", "func(t *testing.T) { helper(t, 1) }", true},
		{"a helper by name", "func(t *testing.T) { v := mustRun(l); _ = v }", true},
		{"a property", "func(t *testing.T) { _ = rapid.Run(func(rt *rapid.T) { rt.Fatal() }) }", true},
		{"a named body", "proves", true},
		{"a made body", "body(1)", true},
		{"nothing", "func(t *testing.T) { run() }", false},
		{"only a set-up", "func(t *testing.T) { l := newLoop(t); l.Run() }", false},
		{"only talk", "func(t *testing.T) { t.Log(1); t.Helper() }", false},
		{"an error somewhere else", "func(t *testing.T) { log.Fatal(1); err.Error() }", false},
		{"a named body that talks", "talks", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			text := head + "func TestX(t *testing.T) { t.Run(\"SCH-01 x\", " + tc.body + ") }\n"
			claims, err := Scan(fstest.MapFS{"a/a_test.go": {Data: []byte(text)}})
			if err != nil || len(claims) != 1 {
				t.Fatalf("claims %v, error %v", claims, err)
			}
			if claims[0].Asserts != tc.want {
				t.Errorf("asserts %v, want %v", claims[0].Asserts, tc.want)
			}
		})
	}
}

func TestScanPassesOver(t *testing.T) {
	made := "package x\nfunc T(t *testing.T) { t.Run(\"SCH-01 x\", nil) }\n"
	claims, err := Scan(fstest.MapFS{
		"tests/conformance/ledger/l_test.go": {Data: []byte(made)},
		"a/testdata/l_test.go":               {Data: []byte(made)},
		"a/l.go":                             {Data: []byte(made)},
	})
	if err != nil || len(claims) != 0 {
		t.Errorf("claims %v, error %v", claims, err)
	}
}

func TestRequireTakesNothingAway(t *testing.T) {
	fsys := books(map[string]string{"required.txt": "SCH-02\n"})
	c, err := ReadCatalogue(fsys)
	if err != nil {
		t.Fatal(err)
	}
	r, err := ReadResults(strings.NewReader(line("run", "T/SCH-01_x") + line("pass", "T/SCH-01_x")))
	if err != nil {
		t.Fatal(err)
	}
	text := Balance(c, nil, r).Require(c)
	if !strings.HasPrefix(text, "# ") || !strings.HasSuffix(text, "\nSCH-01\nSCH-02\n") {
		t.Errorf("list %q", text)
	}
}
