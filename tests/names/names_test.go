// Package names checks that every name in the asyncio → Go table of
// ARCHITECTURE.md exists.
package names

import (
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
	quoted = regexp.MustCompile("`([A-Za-z]+\\.[A-Za-z]+)`")
)

func TestTable(t *testing.T) {
	root := filepath.Join("..", "..")
	text, err := os.ReadFile(filepath.Join(root, "ARCHITECTURE.md"))
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

func TestUnknownNamesAreNoticed(t *testing.T) {
	have := exported(t, filepath.Join("..", ".."))
	if have["Loop.CallNever"] || !have["Loop.CallSoon"] || !have["loopnode.Run"] {
		t.Fatal("the set of names is wrong")
	}
}

// exported are the names package.Func and Type.Method of the public packages.
func exported(t *testing.T, root string) map[string]bool {
	t.Helper()
	have := map[string]bool{}
	for _, dir := range []string{"actors", "loopnode", "transportactors", "cluster"} {
		entries, err := fs.Glob(os.DirFS(filepath.Join(root, dir)), "*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range entries {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range f.Decls {
				add(have, f.Name.Name, d)
			}
		}
	}
	return have
}

func add(have map[string]bool, pkg string, d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			have[pkg+"."+d.Name.Name] = true
			return
		}
		have[receiver(d.Recv.List[0].Type)+"."+d.Name.Name] = true
	case *ast.GenDecl:
		for _, s := range d.Specs {
			if ts, ok := s.(*ast.TypeSpec); ok {
				addType(have, pkg, ts)
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
				have[ts.Name.Name+"."+n.Name] = true
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
