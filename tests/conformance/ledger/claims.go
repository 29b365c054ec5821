package ledger

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

// Claim is a place in a test that says which behaviours it proves.
type Claim struct {
	IDs     []string
	Name    string // the whole name of the subtest
	File    string
	Line    int
	Direct  bool // written as the name in t.Run; otherwise in a table
	Asserts bool // something below it can fail
}

// Place is where the claim stands, as file:line.
func (c Claim) Place() string { return fmt.Sprintf("%s:%d", c.File, c.Line) }

// claimed is how a test's name begins that proves behaviours.
var claimed = regexp.MustCompile(`^[A-Z]{2,4}-\d{2}( [A-Z]{2,4}-\d{2})* `)

// notScanned holds the tests of this package: their claims are made up.
var notScanned = []string{Dir + "/ledger", Dir + "/report"}

// Scan reads the claims of every test file below fsys. It does not look at
// build tags: a test that needs a foreign program claims all the same.
func Scan(fsys fs.FS) ([]Claim, error) {
	byDir := map[string][]*testFile{}
	fset := token.NewFileSet()
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && skipped(name):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(name, "_test.go"):
			return nil
		}
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		tree, err := parser.ParseFile(fset, name, text, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		byDir[path.Dir(name)] = append(byDir[path.Dir(name)], &testFile{name, fset, tree})
		return nil
	})
	if err != nil {
		return nil, err
	}
	var out []Claim
	for _, files := range byDir {
		out = append(out, scanPackage(files)...)
	}
	sort.Slice(out, func(i, j int) bool {
		if out[i].File != out[j].File {
			return out[i].File < out[j].File
		}
		return out[i].Line < out[j].Line
	})
	return out, nil
}

func skipped(dir string) bool {
	base := path.Base(dir)
	for _, d := range notScanned {
		if dir == d {
			return true
		}
	}
	return dir != "." && (base == "testdata" || base == "vendor" || base[0] == '.' || base[0] == '_')
}

type testFile struct {
	name string
	fset *token.FileSet
	ast  *ast.File
}

// scanPackage finds the claims of the test files in one folder.
func scanPackage(files []*testFile) []Claim {
	funcs := map[string]*ast.FuncDecl{}
	for _, f := range files {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
				funcs[fn.Name.Name] = fn
			}
		}
	}
	var out []Claim
	for _, f := range files {
		for _, d := range f.ast.Decls {
			out = append(out, f.scan(d, funcs)...)
		}
	}
	return out
}

// scan finds the claims in one declaration.
func (f *testFile) scan(d ast.Decl, funcs map[string]*ast.FuncDecl) []Claim {
	var out []Claim
	direct := map[ast.Node]bool{} // names already seen as the argument of a Run
	ast.Inspect(d, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if name, ok := runName(n); ok {
				direct[n.Args[0]] = true
				out = append(out, f.claim(n, name, true, bodyAsserts(n.Args[1], funcs)))
			}
		case *ast.BasicLit:
			name, ok := stringOf(n)
			if ok && !direct[n] && claimed.MatchString(name+" ") {
				out = append(out, f.claim(n, name, false, tableAsserts(d)))
			}
		}
		return true
	})
	return out
}

func (f *testFile) claim(n ast.Node, name string, direct, asserts bool) Claim {
	ids := strings.Fields(claimed.FindString(name + " "))
	return Claim{ids, name, f.name, f.fset.Position(n.Pos()).Line, direct, asserts}
}

// runName gives the name in x.Run("SCH-05 …", body).
func runName(call *ast.CallExpr) (string, bool) {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || sel.Sel.Name != "Run" || len(call.Args) != 2 {
		return "", false
	}
	lit, ok := call.Args[0].(*ast.BasicLit)
	if !ok {
		return "", false
	}
	name, ok := stringOf(lit)
	return name, ok && claimed.MatchString(name+" ")
}

func stringOf(lit *ast.BasicLit) (string, bool) {
	if lit.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(lit.Value)
	return s, err == nil
}
