package arch

import (
	"fmt"
	"go/ast"
	"go/token"
	"regexp"
	"strings"
)

// launch is one place that starts a goroutine.
type launch struct {
	file, function, owner, end string
}

// promise is the comment line a goroutine owes: who owns it and what ends it.
var promise = regexp.MustCompile(`goroutine:\s*owner:\s*(.+?)\s*;\s*ends\s+(.+?)\.?\s*$`)

// launches lists every goroutine started outside tests and what is wrong with
// the comments before them.
func launches(m *module) (list []launch, wrong []finding) {
	for _, f := range m.production() {
		groups := waitGroups(m, f.dir)
		comments := commentsByLastLine(m, f)
		for _, d := range f.ast.Decls {
			name := "(variable)"
			if fn, ok := d.(*ast.FuncDecl); ok {
				name = funcName(fn)
			}
			ast.Inspect(d, func(n ast.Node) bool {
				pos, ok := starts(n, groups)
				if !ok {
					return true
				}
				said := promise.FindStringSubmatch(comments[m.fset.Position(pos).Line-1])
				if said == nil {
					wrong = append(wrong, m.at(f, pos, "a goroutine without the line before it: // goroutine: owner: …; ends …"))
					return true
				}
				list = append(list, launch{f.path, name, said[1], said[2]})
				return true
			})
		}
	}
	return list, wrong
}

// starts reports whether n starts a goroutine: a go statement, or Go of a
// sync.WaitGroup.
func starts(n ast.Node, groups map[string]bool) (token.Pos, bool) {
	switch n := n.(type) {
	case *ast.GoStmt:
		return n.Pos(), true
	case *ast.CallExpr:
		sel, ok := n.Fun.(*ast.SelectorExpr)
		if ok && sel.Sel.Name == "Go" && groups[lastName(sel.X)] {
			return n.Pos(), true
		}
	}
	return token.NoPos, false
}

// waitGroups gives the names of the wait groups declared in a folder. Names
// are enough: there is no type information here.
func waitGroups(m *module, dir string) map[string]bool {
	names := map[string]bool{}
	for _, f := range m.production() {
		local := f.local("sync")
		if f.dir != dir || local == "" {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.Field:
				if isWaitGroup(n.Type, local) {
					collect(names, n.Names)
				}
			case *ast.ValueSpec:
				if isWaitGroup(n.Type, local) {
					collect(names, n.Names)
				}
			}
			return true
		})
	}
	return names
}

func isWaitGroup(e ast.Expr, local string) bool {
	if star, ok := e.(*ast.StarExpr); ok {
		e = star.X
	}
	sel, ok := e.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	name, ok := selected(sel, local)
	return ok && name == "WaitGroup"
}

func collect(names map[string]bool, ids []*ast.Ident) {
	for _, id := range ids {
		names[id.Name] = true
	}
}

func lastName(e ast.Expr) string {
	switch x := e.(type) {
	case *ast.Ident:
		return x.Name
	case *ast.SelectorExpr:
		return x.Sel.Name
	}
	return ""
}

// commentsByLastLine joins each comment group into one line, by where it ends.
func commentsByLastLine(m *module, f *source) map[int]string {
	out := map[int]string{}
	for _, group := range f.ast.Comments {
		out[m.fset.Position(group.End()).Line] = strings.Join(strings.Fields(group.Text()), " ")
	}
	return out
}

func goroutineComments(m *module) []finding {
	_, wrong := launches(m)
	return wrong
}

// listing is the golden file: one goroutine a line, in file order.
func listing(list []launch) string {
	var b strings.Builder
	b.WriteString("# file\tfunction\towner\tends\n")
	for _, l := range list {
		fmt.Fprintf(&b, "%s\t%s\t%s\t%s\n", l.file, l.function, l.owner, l.end)
	}
	return b.String()
}
