package arch

import (
	"go/ast"
	"go/token"
	"strings"
)

// packageDocs: every package says in one place what it is.
func packageDocs(m *module) []finding {
	first := map[string]*source{}
	told := map[string]bool{}
	var order []string
	for _, f := range m.files {
		name := f.ast.Name.Name
		if strings.HasSuffix(name, "_test") {
			continue // the outside view of a package that has its own comment
		}
		key := f.dir + " " + name
		if first[key] == nil {
			first[key] = f
			order = append(order, key)
		}
		told[key] = told[key] || tellsPackage(f)
	}
	var out []finding
	for _, key := range order {
		if f := first[key]; !told[key] {
			out = append(out, m.at(f, f.ast.Package, "package %s has no comment that starts with \"Package %s\" (a program: with what it is)", f.ast.Name.Name, f.ast.Name.Name))
		}
	}
	return out
}

func tellsPackage(f *source) bool {
	text := strings.TrimSpace(f.ast.Doc.Text())
	if f.ast.Name.Name == "main" {
		return text != ""
	}
	return strings.HasPrefix(text, "Package "+f.ast.Name.Name+" ")
}

// exportedDocs: what a caller can see has a comment. A comment on a group of
// constants or variables, or at the end of the line, counts.
func exportedDocs(m *module) []finding {
	var out []finding
	for _, f := range m.production() {
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && receiverExported(d) && !(d.Recv != nil && selfEvident[d.Name.Name]) && d.Doc.Text() == "" {
					out = append(out, m.at(f, d.Pos(), "%s has no comment", funcName(d)))
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if name := undocumented(d, spec); name != "" {
						out = append(out, m.at(f, spec.Pos(), "%s has no comment", name))
					}
				}
			}
		}
	}
	return out
}

// selfEvident are methods that their interface in the standard library
// explains.
var selfEvident = map[string]bool{"Error": true, "Unwrap": true, "String": true}

// undocumented gives the exported name of a spec that nothing explains.
func undocumented(d *ast.GenDecl, spec ast.Spec) string {
	if d.Tok == token.IMPORT {
		return ""
	}
	told := d.Doc.Text()
	switch s := spec.(type) {
	case *ast.TypeSpec:
		if s.Name.IsExported() && told+s.Doc.Text()+s.Comment.Text() == "" {
			return s.Name.Name
		}
	case *ast.ValueSpec:
		for _, name := range s.Names {
			if name.IsExported() && told+s.Doc.Text()+s.Comment.Text() == "" {
				return name.Name
			}
		}
	}
	return ""
}

func receiverExported(d *ast.FuncDecl) bool {
	return d.Recv == nil || ast.IsExported(receiver(d))
}

// receiver is the name of a method's type, without pointer and parameters.
func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return ""
	}
	for e := d.Recv.List[0].Type; ; {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.IndexListExpr:
			e = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

func funcName(d *ast.FuncDecl) string {
	if r := receiver(d); r != "" {
		return r + "." + d.Name.Name
	}
	return d.Name.Name
}
