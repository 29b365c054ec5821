// Package names checks that every name in the asyncio → Go table of
// docs/asyncio.md exists.
package names

import (
	_ "embed"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	row    = regexp.MustCompile("(?m)^\\| `[a-zA-Z_.()=… ]+` \\| (.+) \\|$")
	quoted = regexp.MustCompile("`([A-Za-z]+\\.[A-Za-z]+(?:\\.[A-Za-z]+)?)`")
)

func TestTable(t *testing.T) {
	root := filepath.Join("..", "..")
	text, err := os.ReadFile(filepath.Join(root, "docs", "asyncio.md"))
	if err != nil {
		t.Fatal(err)
	}
	have := exported(t, root)
	rows := row.FindAllStringSubmatch(string(text), -1)
	if len(rows) < 30 {
		t.Fatalf("only %d rows found: the table or this test changed its form", len(rows))
	}
	for _, r := range rows {
		names := quoted.FindAllStringSubmatch(r[1], -1)
		if len(names) == 0 {
			t.Errorf("row without a Go name: %s", r[0])
		}
		for _, n := range names {
			if !have[n[1]] {
				t.Errorf("%s does not exist: %s", n[1], r[0])
			}
		}
	}
}

// index is asyncio's low-level API index, one entry a line.
//
//go:embed index.txt
var index string

func TestNothingOfTheIndexIsMissing(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "asyncio.md"))
	if err != nil {
		t.Fatal(err)
	}
	entries := strings.Fields(index)
	if len(entries) < 80 {
		t.Fatalf("the index has only %d entries", len(entries))
	}
	for _, name := range entries {
		if !strings.Contains(string(text), "\n| `"+name+"` | ") {
			t.Errorf("%s has no row in docs/asyncio.md", name)
		}
	}
}

func TestUnknownNamesAreNoticed(t *testing.T) {
	have := exported(t, filepath.Join("..", ".."))
	if have["Loop.CallNever"] || !have["Loop.CallSoon"] || !have["loopnode.Run"] {
		t.Fatal("the set of names is wrong")
	}
}

// exported are the names package.Func, Type.Method and package.Type.Method of
// the public packages.
func exported(t *testing.T, root string) map[string]bool {
	t.Helper()
	have, embeds := map[string]bool{}, map[string][]string{}
	for _, dir := range publicFolders(t, root) {
		entries, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range entries {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range f.Decls {
				add(have, f.Name.Name, d)
				embedded(embeds, d)
			}
		}
	}
	promote(have, embeds)
	return have
}

// publicFolders are the folders whose packages a user may import.
func publicFolders(t *testing.T, root string) []string {
	t.Helper()
	var dirs []string
	for _, top := range []string{"actors", "loopnode", "loopnode/lookup", "loopnode/supervisor", "loopnode/tasksync", "transportactors", "cluster"} {
		err := fs.WalkDir(os.DirFS(root), top, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() && (d.Name() == "internal" || d.Name() == "testdata") {
				return fs.SkipDir
			}
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return dirs
}

// embedded notes which types a struct embeds.
func embedded(embeds map[string][]string, d ast.Decl) {
	gen, ok := d.(*ast.GenDecl)
	if !ok {
		return
	}
	for _, s := range gen.Specs {
		ts, _ := s.(*ast.TypeSpec)
		if ts == nil {
			continue
		}
		if st, ok := ts.Type.(*ast.StructType); ok {
			for _, f := range st.Fields.List {
				if len(f.Names) == 0 {
					embeds[ts.Name.Name] = append(embeds[ts.Name.Name], receiver(f.Type))
				}
			}
		}
	}
}

// promote gives a struct the methods of what it embeds, two levels deep, which
// is what there is.
func promote(have map[string]bool, embeds map[string][]string) {
	for range 2 {
		for outer, inners := range embeds {
			for _, inner := range inners {
				for name := range have {
					if method, ok := strings.CutPrefix(name, inner+"."); ok {
						have[outer+"."+method] = true
					}
				}
			}
		}
	}
}

func add(have map[string]bool, pkg string, d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			have[pkg+"."+d.Name.Name] = true
			return
		}
		method := receiver(d.Recv.List[0].Type) + "." + d.Name.Name
		have[method], have[pkg+"."+method] = true, true
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				addType(have, pkg, s)
			case *ast.ValueSpec:
				for _, n := range s.Names {
					have[pkg+"."+n.Name] = true
				}
			}
		}
	}
}

// addType adds a type and, for an interface, its methods.
func addType(have map[string]bool, pkg string, ts *ast.TypeSpec) {
	have[pkg+"."+ts.Name.Name] = true
	if it, ok := ts.Type.(*ast.InterfaceType); ok {
		for _, m := range it.Methods.List {
			for _, n := range m.Names {
				method := ts.Name.Name + "." + n.Name
				have[method], have[pkg+"."+method] = true, true
			}
		}
	}
}

// receiver is the name of the type behind pointers and type parameters.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}
