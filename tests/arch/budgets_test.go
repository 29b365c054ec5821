package arch

import (
	"go/ast"
	"os"
	"slices"
	"strings"
	"testing"
)

// exportBudgets bound the exported names of a package's scope: a package that
// grows beyond is asked whether a part of it should leave.
var exportBudgets = map[string]int{
	"actors":          66,
	"loopnode":        145,
	"transportactors": 80,
	"cluster":         46,
}

// nodeBudget bounds what the root of the cluster does itself: it wires the
// packages below cluster/internal and leaves the work to them.
const (
	nodeMethods  = 38
	clusterFiles = 12
)

// explained are the comment lines per line of code that a folder has at least:
// its mechanisms (frames, credits, watching, membership) need paragraphs. The
// bounds of this file only ever become stricter.
var explained = map[string]float64{"cluster/...": 0.25, "cmd/node/...": 0.25}

// longestFunction bounds the lines of a function, its braces not counted.
const longestFunction = 62

func TestBudgets(t *testing.T) {
	m, err := load(os.DirFS(root(t)))
	if err != nil {
		t.Fatal(err)
	}
	t.Run("exported names", func(t *testing.T) {
		for dir, most := range exportBudgets {
			n := len(m.scopeExports(dir))
			if n == 0 || n > most {
				t.Errorf("%s exports %d names, its budget is 1 to %d", dir, n, most)
			}
		}
	})
	t.Run("the node only wires", func(t *testing.T) {
		if n := m.methods("cluster", "Node"); n == 0 || n > nodeMethods {
			t.Errorf("cluster.Node has %d methods, exported or not; its budget is 1 to %d", n, nodeMethods)
		}
		if n := len(m.in("cluster")); n == 0 || n > clusterFiles {
			t.Errorf("cluster has %d files at the top, its budget is 1 to %d", n, clusterFiles)
		}
	})
	t.Run("mechanisms are explained", func(t *testing.T) {
		for pattern, least := range explained {
			comments, code := m.lines(pattern)
			if code == 0 || float64(comments) < least*float64(code) {
				t.Errorf("%s: %d comment lines for %d lines of code, want at least %.2f a line", pattern, comments, code, least)
			}
		}
	})
	t.Run("functions are short", func(t *testing.T) {
		for _, f := range m.production() {
			for _, d := range f.ast.Decls {
				fn, ok := d.(*ast.FuncDecl)
				if !ok || fn.Body == nil || matchesAny(freeOfFloors, f.dir) {
					continue
				}
				if n := m.fset.Position(fn.Body.Rbrace).Line - m.fset.Position(fn.Body.Lbrace).Line - 1; n > longestFunction {
					t.Error(m.at(f, fn.Pos(), "%s has %d lines, the longest may have %d", funcName(fn), n, longestFunction))
				}
			}
		}
	})
}

// in gives the product files of one folder.
func (m *module) in(dir string) []*source {
	return slices.DeleteFunc(m.production(), func(f *source) bool { return f.dir != dir })
}

// scopeExports gives the exported names of a package's scope, each once.
func (m *module) scopeExports(dir string) []string {
	var out []string
	for _, f := range m.in(dir) {
		for _, d := range f.ast.Decls {
			for _, name := range scopeNames(d) {
				if ast.IsExported(name) && !slices.Contains(out, name) {
					out = append(out, name)
				}
			}
		}
	}
	return out
}

// scopeNames gives the names a declaration puts into the package's scope.
func scopeNames(d ast.Decl) []string {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			return []string{d.Name.Name}
		}
	case *ast.GenDecl:
		var out []string
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				out = append(out, s.Name.Name)
			case *ast.ValueSpec:
				for _, n := range s.Names {
					out = append(out, n.Name)
				}
			}
		}
		return out
	}
	return nil
}

// methods counts the methods of a type.
func (m *module) methods(dir, typ string) int {
	n := 0
	for _, f := range m.in(dir) {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && receiver(fn) == typ {
				n++
			}
		}
	}
	return n
}

// lines counts the comment lines and the lines of code of product files.
func (m *module) lines(pattern string) (comments, code int) {
	for _, f := range m.production() {
		if !matches(pattern, f.dir) {
			continue
		}
		for line := range strings.Lines(f.text) {
			switch line = strings.TrimSpace(line); {
			case line == "":
			case strings.HasPrefix(line, "//"):
				comments++
			default:
				code++
			}
		}
	}
	return comments, code
}
