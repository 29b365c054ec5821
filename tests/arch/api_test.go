package arch

import (
	"bytes"
	"go/ast"
	"go/printer"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// publicDirs are the folders whose packages a user imports.
var publicDirs = []string{"actors/...", "loopnode/...", "transportactors/...", "cluster/..."}

// public reports whether a user can import the package of dir.
func public(dir string) bool {
	return matchesAny(publicDirs, dir) && !slices.Contains(strings.Split(dir, "/"), "internal")
}

// TestAPI compares what each public package exports with the api.txt in its
// folder: whoever changes an export changes a line there, too.
func TestAPI(t *testing.T) {
	m, err := load(os.DirFS(root(t)))
	if err != nil {
		t.Fatal(err)
	}
	apis := m.apis()
	if len(apis) < 4 {
		t.Fatalf("only %d public packages found: the test looks at the wrong folders", len(apis))
	}
	for dir, lines := range apis {
		t.Run(dir, func(t *testing.T) { compareAPI(t, filepath.Join(root(t), dir, "api.txt"), lines) })
	}
}

func compareAPI(t *testing.T, golden string, lines []string) {
	got := strings.Join(lines, "\n") + "\n"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	recorded := strings.Split(strings.TrimSuffix(string(want), "\n"), "\n")
	for _, l := range lines {
		if !slices.Contains(recorded, l) {
			t.Errorf("exported and not recorded: %s", l)
		}
	}
	for _, l := range recorded {
		if !slices.Contains(lines, l) {
			t.Errorf("recorded and no longer exported: %s", l)
		}
	}
	if t.Failed() {
		t.Log("if the change is meant, run go test ./tests/arch -update and read the difference")
	}
}

// apis gives the exported declarations of every public package, a line each,
// sorted. What differs between operating systems appears once a form.
func (m *module) apis() map[string][]string {
	out := map[string][]string{}
	for _, f := range m.production() {
		if !public(f.dir) || f.ast.Name.Name == "main" {
			continue
		}
		for _, d := range f.ast.Decls {
			out[f.dir] = append(out[f.dir], m.exports(d)...)
		}
	}
	for dir, lines := range out {
		slices.Sort(lines)
		out[dir] = slices.Compact(lines)
	}
	return out
}

// exports gives a line for each exported name of a declaration, its fields and
// its methods.
func (m *module) exports(d ast.Decl) []string {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if !d.Name.IsExported() || !receiverExported(d) {
			return nil
		}
		return []string{m.print(&ast.FuncDecl{Recv: unnamed(d.Recv), Name: d.Name, Type: d.Type})}
	case *ast.GenDecl:
		var out []string
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				out = append(out, m.typeExports(s)...)
			case *ast.ValueSpec:
				out = append(out, m.valueExports(d.Tok, s)...)
			}
		}
		return out
	}
	return nil
}

func (m *module) valueExports(tok token.Token, s *ast.ValueSpec) []string {
	var out []string
	for _, n := range s.Names {
		if !n.IsExported() {
			continue
		}
		line := tok.String() + " " + n.Name
		if s.Type != nil {
			line += " " + m.print(s.Type)
		}
		out = append(out, line)
	}
	return out
}

// typeExports gives the head of a type and the exported members of a struct or
// an interface.
func (m *module) typeExports(s *ast.TypeSpec) []string {
	if !s.Name.IsExported() {
		return nil
	}
	name := s.Name.Name
	if s.TypeParams != nil {
		name += m.print(&ast.FuncType{Func: token.NoPos, TypeParams: nil, Params: s.TypeParams})[len("func"):]
	}
	switch t := s.Type.(type) {
	case *ast.StructType:
		return append([]string{"type " + name + " struct"}, m.members("field "+s.Name.Name, t.Fields)...)
	case *ast.InterfaceType:
		return append([]string{"type " + name + " interface"}, m.members("method "+s.Name.Name, t.Methods)...)
	}
	if s.Assign.IsValid() {
		return []string{"type " + name + " = " + m.print(s.Type)}
	}
	return []string{"type " + name + " " + m.print(s.Type)}
}

func (m *module) members(owner string, list *ast.FieldList) []string {
	var out []string
	for _, f := range list.List {
		if len(f.Names) == 0 {
			out = append(out, owner+" embeds "+m.print(f.Type))
		}
		for _, n := range f.Names {
			if n.IsExported() {
				out = append(out, owner+"."+n.Name+" "+strings.TrimPrefix(m.print(f.Type), "func"))
			}
		}
	}
	return out
}

// unnamed drops the receiver's name, which is nobody's business.
func unnamed(recv *ast.FieldList) *ast.FieldList {
	if recv == nil || len(recv.List) == 0 {
		return recv
	}
	return &ast.FieldList{List: []*ast.Field{{Type: recv.List[0].Type}}}
}

// print gives a declaration in one line.
func (m *module) print(node any) string {
	var b bytes.Buffer
	if err := printer.Fprint(&b, m.fset, node); err != nil {
		return err.Error()
	}
	return strings.Join(strings.Fields(b.String()), " ")
}
