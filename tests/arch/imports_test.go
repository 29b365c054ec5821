package arch

import (
	"go/ast"
	"maps"
	"path"
	"slices"
	"strings"
)

// floor says which packages of this module a folder may import. The first row
// that covers a folder decides. A folder that stands in no row is a finding:
// where it stands is a decision, written down here.
type floor struct {
	name string
	dirs []string
	may  []string
}

var floors = []floor{
	{"pure", []string{"internal/core", "internal/wire"}, nil},
	{"0 internal", []string{"internal/..."}, []string{"internal/..."}},
	{"1 actors", []string{"actors/..."}, []string{"actors/...", "internal/..."}},
	{"2 loopnode", []string{"loopnode/..."}, []string{"loopnode/...", "actors/...", "internal/..."}},
	{"3 transportactors", []string{"transportactors/..."}, []string{"transportactors/...", "loopnode/...", "actors/...", "internal/..."}},
	{"4 cluster", []string{"cluster/..."}, []string{"cluster/...", "transportactors/...", "loopnode/...", "actors/...", "internal/..."}},
	{"5 programs", []string{"cmd/..."}, []string{"cmd/...", "cluster/...", "transportactors/...", "loopnode/...", "actors/...", "internal/..."}},
	{"5 examples and tests", freeOfFloors, []string{"..."}},
	{"the module's own page", []string{"."}, nil},
}

// door says who may import a module of somebody else.
type door struct {
	module string
	only   []string
	why    string
}

var doors = []door{
	{"github.com/asynkron/protoactor-go", []string{"actors"}, "actors is the only door to protoactor-go"},
	{"github.com/nats-io", []string{"cluster/..."}, "NATS belongs to the cluster; a program with loops only links none of it"},
	{"charm.land", []string{"cluster/nodecmd/top"}, "drawing on a terminal is top's business"},
	{"github.com/spf13", []string{"cluster/nodecmd"}, "flags and output are the command line's business"},
}

// unlinked says what a folder may not reach, through however many imports.
var unlinked = []struct {
	dirs    []string
	modules []string
}{
	{[]string{"internal/...", "actors", "loopnode", "transportactors"}, []string{"github.com/nats-io", "github.com/spf13"}},
	{[]string{"internal/..."}, []string{"github.com/asynkron/protoactor-go"}},
}

// impure is what a pure package may not import or call: it is fed time, events
// and chance from outside.
var (
	pureDirs      = []string{"internal/core", "internal/wire", "cluster/internal/credit"}
	impureImports = []string{"os", "net", "sync", "syscall", "golang.org/x/sys", "math/rand", "crypto/rand", "os/...", "net/...", "sync/...", "golang.org/x/sys/...", "math/rand/..."}
	pureAnyway    = []string{"net/netip"}
	impureTime    = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}
)

// testOnly is what production code never imports.
var testOnly = []string{"testing", "testing/...", "net/http/httptest", "go.uber.org/goleak", "pgregory.net/rapid"}

// freeOfFloors: these may import anything.
var freeOfFloors = []string{"examples/...", "tests/...", "bench/..."}

func importFloors(m *module) []finding {
	var out []finding
	for _, f := range m.production() {
		row := slices.IndexFunc(floors, func(fl floor) bool { return matchesAny(fl.dirs, f.dir) })
		if row < 0 {
			out = append(out, m.at(f, f.ast.Package, "folder %s stands on no floor: add it to the table in tests/arch/imports_test.go", f.dir))
			continue
		}
		for name, pos := range f.imports() {
			if dir, ours := inModule(name); ours && !matchesAny(floors[row].may, dir) {
				out = append(out, m.at(f, pos, "floor %q may not import %s", floors[row].name, dir))
			}
		}
	}
	return out
}

func importDoors(m *module) []finding {
	var out []finding
	for _, f := range m.production() {
		if matchesAny(freeOfFloors, f.dir) {
			continue
		}
		for name, pos := range f.imports() {
			for _, d := range doors {
				if matches(d.module+"/...", name) && !matchesAny(d.only, f.dir) {
					out = append(out, m.at(f, pos, "%s may not import %s: %s", f.dir, name, d.why))
				}
			}
		}
	}
	return out
}

func importLinks(m *module) []finding {
	edges := map[string]map[string]bool{}
	first := map[string]*source{}
	for _, f := range m.production() {
		if first[f.dir] == nil {
			first[f.dir], edges[f.dir] = f, map[string]bool{}
		}
		for name := range f.imports() {
			edges[f.dir][name] = true
		}
	}
	var out []finding
	for _, dir := range slices.Sorted(maps.Keys(first)) {
		for _, u := range unlinked {
			if !matchesAny(u.dirs, dir) {
				continue
			}
			if chain := reach(edges, dir, u.modules, map[string]bool{}); chain != nil {
				out = append(out, m.at(first[dir], first[dir].ast.Package, "%s links %s", dir, strings.Join(chain, " → ")))
			}
		}
	}
	return out
}

// reach walks the imports of dir until one of modules and returns the way.
func reach(edges map[string]map[string]bool, dir string, modules []string, seen map[string]bool) []string {
	if seen[dir] {
		return nil
	}
	seen[dir] = true
	for _, name := range slices.Sorted(maps.Keys(edges[dir])) {
		if slices.ContainsFunc(modules, func(mod string) bool { return matches(mod+"/...", name) }) {
			return []string{name}
		}
		next, ours := inModule(name)
		if !ours {
			continue
		}
		if chain := reach(edges, next, modules, seen); chain != nil {
			return append([]string{next}, chain...)
		}
	}
	return nil
}

func importPure(m *module) []finding {
	var out []finding
	for _, f := range m.production() {
		if !matchesAny(pureDirs, f.dir) {
			continue
		}
		for name, pos := range f.imports() {
			if matchesAny(impureImports, name) && !matchesAny(pureAnyway, name) {
				out = append(out, m.at(f, pos, "%s is pure and may not import %s", f.dir, name))
			}
		}
		clock := f.local("time")
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				out = append(out, m.at(f, n.Pos(), "%s is pure and may not start a goroutine", f.dir))
			case *ast.SelectorExpr:
				if name, ok := selected(n, clock); ok && slices.Contains(impureTime, name) {
					out = append(out, m.at(f, n.Pos(), "%s is pure and may not ask for the time: time.%s", f.dir, name))
				}
			}
			return true
		})
	}
	return out
}

func importTestHelpers(m *module) []finding {
	var out []finding
	for _, f := range m.production() {
		if testHelper(f.dir) {
			continue
		}
		for name, pos := range f.imports() {
			dir, ours := inModule(name)
			if matchesAny(testOnly, name) || ours && testHelper(dir) {
				out = append(out, m.at(f, pos, "production code may not import %s, it is for tests", name))
			}
		}
	}
	return out
}

// testHelper knows a package made for tests by its place or its name, as in
// looptest or testkit.
func testHelper(dir string) bool {
	base := path.Base(dir)
	return matches("tests/...", dir) || strings.HasSuffix(base, "test") || strings.HasPrefix(base, "test")
}

// selected gives Name of pkg.Name when the package's local name fits.
func selected(n *ast.SelectorExpr, pkg string) (string, bool) {
	x, ok := n.X.(*ast.Ident)
	if !ok || pkg == "" || x.Name != pkg {
		return "", false
	}
	return n.Sel.Name, true
}
