package arch

import (
	"go/ast"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// aliasDocs: go doc shows no field and no method of a type that is an alias for one of
// an internal package, so the comment of the alias names them all.
func aliasDocs(m *module) []finding {
	shown := membersOf(m)
	var out []finding
	for _, f := range m.production() {
		if internal(f.dir) {
			continue
		}
		for _, d := range f.ast.Decls {
			gen, _ := d.(*ast.GenDecl)
			if gen == nil {
				continue
			}
			for _, spec := range gen.Specs {
				ts, dir, name := aliasOf(f, spec)
				if ts == nil || !ts.Name.IsExported() || !internal(dir) {
					continue
				}
				told := gen.Doc.Text() + ts.Doc.Text()
				for _, member := range shown[dir+" "+name] {
					if !regexp.MustCompile(`\b` + member + `\b`).MatchString(told) {
						out = append(out, m.at(f, ts.Pos(), "the comment of %s does not name %s of %s.%s, which go doc does not show", ts.Name.Name, member, path.Base(dir), name))
					}
				}
			}
		}
	}
	return out
}

func internal(dir string) bool {
	return strings.HasPrefix(dir, "internal/") || strings.Contains(dir, "/internal/")
}

// aliasOf is the type that spec makes another name of, and its folder in the module;
// nil when it does no such thing.
func aliasOf(f *source, spec ast.Spec) (ts *ast.TypeSpec, dir, name string) {
	ts, _ = spec.(*ast.TypeSpec)
	if ts == nil || !ts.Assign.IsValid() {
		return nil, "", ""
	}
	sel, _ := ts.Type.(*ast.SelectorExpr)
	if sel == nil {
		return nil, "", ""
	}
	pkg, _ := sel.X.(*ast.Ident)
	for _, spec := range f.ast.Imports {
		where, err := strconv.Unquote(spec.Path.Value)
		if err != nil || pkg == nil || f.local(where) != pkg.Name {
			continue
		}
		if dir, ok := inModule(where); ok {
			return ts, dir, sel.Sel.Name
		}
	}
	return nil, "", ""
}

// membersOf are the exported fields and methods of every type, by "folder type".
func membersOf(m *module) map[string][]string {
	out := map[string][]string{}
	note := func(f *source, typ string, names ...*ast.Ident) {
		for _, n := range names {
			if n.IsExported() && !selfEvident[n.Name] {
				out[f.dir+" "+typ] = append(out[f.dir+" "+typ], n.Name)
			}
		}
	}
	for _, f := range m.production() {
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if r := receiver(d); r != "" {
					note(f, r, d.Name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					ts, _ := spec.(*ast.TypeSpec)
					if ts == nil {
						continue
					}
					for _, field := range fieldsOf(ts) {
						note(f, ts.Name.Name, field.Names...)
					}
				}
			}
		}
	}
	return out
}

// fieldsOf are the fields of a struct or the methods of an interface.
func fieldsOf(ts *ast.TypeSpec) []*ast.Field {
	switch t := ts.Type.(type) {
	case *ast.StructType:
		return t.Fields.List
	case *ast.InterfaceType:
		return t.Methods.List
	}
	return nil
}
