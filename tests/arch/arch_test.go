package arch

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/internal/leaktest"
)

var update = flag.Bool("update", false, "write testdata/goroutines.txt from the tree")

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: m}) }

// rules is everything this package checks.
var rules = []struct {
	name  string
	check func(*module) []finding
}{
	{"imports point down", importFloors},
	{"one door to each foreign module", importDoors},
	{"loops link no cluster", importLinks},
	{"pure packages stay pure", importPure},
	{"production imports no test helper", importTestHelpers},
	{"packages say what they are", packageDocs},
	{"exported names have comments", exportedDocs},
	{"aliases show what is behind them", aliasDocs},
	{"goroutines name owner and end", goroutineComments},
	{"recover only in guard and coro", recoverPlaces},
	{"no init functions", noInit},
	{"no unsafe", noUnsafe},
	{"no norace, no linkname", noDirectives},
	{"no thread locks", noThreadLock},
	{"no sleeps", noSleep},
	{"no skipped tests", noSkips},
	{"no unfinished words", noUnfinished},
}

func TestTree(t *testing.T) {
	m, err := load(os.DirFS(root(t)))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.production()) == 0 {
		t.Fatal("no Go file found: the test looks at the wrong folder")
	}
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			for _, f := range r.check(m) {
				t.Error(f)
			}
		})
	}
}

// TestGoroutines keeps the list of every goroutine under review: a new one
// shows up as a changed line.
func TestGoroutines(t *testing.T) {
	m, err := load(os.DirFS(root(t)))
	if err != nil {
		t.Fatal(err)
	}
	list, _ := launches(m)
	golden := filepath.Join("testdata", "goroutines.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(listing(list)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got := listing(list); got != string(want) {
		t.Errorf("the goroutines of the module changed; read the difference, then run go test ./tests/arch -update\n--- now\n%s--- recorded\n%s", got, want)
	}
}
