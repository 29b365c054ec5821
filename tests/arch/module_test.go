package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
)

// modulePath is the import path of the folder that holds go.mod.
const modulePath = "github.com/loopmesh/loopmesh"

// source is one parsed Go file. Build tags are not looked at: a rule holds on
// every platform.
type source struct {
	path string // slash-separated, from the module's root
	dir  string
	test bool // a _test.go file
	text string
	ast  *ast.File
}

// module is every Go file of the tree.
type module struct {
	fset  *token.FileSet
	files []*source
}

// finding is one broken rule at one place.
type finding struct {
	path string
	line int
	text string
}

func (f finding) String() string { return fmt.Sprintf("%s:%d: %s", f.path, f.line, f.text) }

// load parses every Go file below fsys, except in folders the go tool ignores.
func load(fsys fs.FS) (*module, error) {
	m := &module{fset: token.NewFileSet()}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (ignored(name) || otherModule(fsys, name)):
			return fs.SkipDir
		case d.IsDir() || path.Ext(name) != ".go":
			return nil
		}
		return m.parse(fsys, name)
	})
	sort.Slice(m.files, func(i, j int) bool { return m.files[i].path < m.files[j].path })
	return m, err
}

func (m *module) parse(fsys fs.FS, name string) error {
	text, err := fs.ReadFile(fsys, name)
	if err != nil {
		return err
	}
	tree, err := parser.ParseFile(m.fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	m.files = append(m.files, &source{
		path: name,
		dir:  path.Dir(name),
		test: strings.HasSuffix(name, "_test.go"),
		text: string(text),
		ast:  tree,
	})
	return nil
}

func ignored(dir string) bool {
	base := path.Base(dir)
	return dir != "." && (base == "testdata" || base == "vendor" || base[0] == '.' || base[0] == '_')
}

// otherModule knows a folder that the module does not contain, because it has
// a go.mod of its own.
func otherModule(fsys fs.FS, dir string) bool {
	_, err := fs.Stat(fsys, path.Join(dir, "go.mod"))
	return dir != "." && err == nil
}

// production gives the files that are not tests.
func (m *module) production() []*source {
	var out []*source
	for _, f := range m.files {
		if !f.test {
			out = append(out, f)
		}
	}
	return out
}

// at makes a finding at a node's place.
func (m *module) at(f *source, pos token.Pos, format string, args ...any) finding {
	return finding{f.path, m.fset.Position(pos).Line, fmt.Sprintf(format, args...)}
}

// imports gives the import paths of a file with their places.
func (f *source) imports() map[string]token.Pos {
	out := map[string]token.Pos{}
	for _, spec := range f.ast.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err == nil {
			out[name] = spec.Pos()
		}
	}
	return out
}

// local is the name under which a file knows an import, "" when it does not.
func (f *source) local(importPath string) string {
	for _, spec := range f.ast.Imports {
		if spec.Path.Value != strconv.Quote(importPath) {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path.Base(importPath)
	}
	return ""
}

// inModule turns an import path of this module into its folder.
func inModule(importPath string) (dir string, ok bool) {
	if importPath == modulePath {
		return ".", true
	}
	return strings.CutPrefix(importPath, modulePath+"/")
}

// matches reports whether dir is covered by pattern; "x/..." covers x and what
// is below it, "..." covers everything.
func matches(pattern, dir string) bool {
	tree, whole := strings.CutSuffix(pattern, "...")
	if !whole {
		return pattern == dir
	}
	tree = strings.TrimSuffix(tree, "/")
	return tree == "" || dir == tree || strings.HasPrefix(dir, tree+"/")
}

func matchesAny(patterns []string, dir string) bool {
	for _, p := range patterns {
		if matches(p, dir) {
			return true
		}
	}
	return false
}

// root finds the folder of go.mod above the test.
func root(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the test: run it inside the module")
		}
		dir = up
	}
}
