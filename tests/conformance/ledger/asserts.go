package ledger

import (
	"go/ast"
	"regexp"
)

// failing are the methods with which a test can fail.
var failing = map[string]bool{
	"Error": true, "Errorf": true, "Fatal": true, "Fatalf": true, "Fail": true, "FailNow": true,
}

// checking is how helpers are called that fail a test for their caller.
var checking = regexp.MustCompile(`(?i)^(must|require|assert|want|expect|check|eventually|equal|compare)`)

// bodyAsserts reports whether the function given to Run can fail: in its own
// words, through a helper that is handed the test, or by a helper's name. A
// helper that hands back a value (newLoop(t)) proves nothing by itself.
func bodyAsserts(body ast.Expr, funcs map[string]*ast.FuncDecl) bool {
	switch b := body.(type) {
	case *ast.FuncLit:
		return asserts(b.Body, parameters(b.Type))
	case *ast.Ident:
		fn := funcs[b.Name]
		return fn != nil && asserts(fn.Body, parameters(fn.Type))
	case *ast.CallExpr:
		return true // a helper makes the body
	default:
		return false
	}
}

// tableAsserts reports whether the function that holds a table can fail.
// Tables outside functions are somebody else's: their reader is not known.
func tableAsserts(d ast.Decl) bool {
	fn, ok := d.(*ast.FuncDecl)
	return !ok || asserts(fn.Body, map[string]bool{"t": true})
}

func asserts(body ast.Node, tests map[string]bool) bool {
	found := false
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ExprStmt:
			if call, ok := n.X.(*ast.CallExpr); ok && handed(call, tests) {
				found = true
			}
		case *ast.CallExpr:
			name := called(n)
			if checking.MatchString(name) {
				found = true
			}
			if _, method := n.Fun.(*ast.SelectorExpr); method && failing[name] && onTest(n, tests) {
				found = true
			}
		case *ast.FuncLit:
			for p := range parameters(n.Type) {
				tests[p] = true // a nested test or property
			}
		}
		return !found
	})
	return found
}

// parameters names a function's first parameter, the test.
func parameters(ft *ast.FuncType) map[string]bool {
	names := map[string]bool{}
	if ft.Params != nil && len(ft.Params.List) > 0 {
		for _, id := range ft.Params.List[0].Names {
			names[id.Name] = true
		}
	}
	return names
}

// handed reports whether a call is given the test itself.
func handed(call *ast.CallExpr, tests map[string]bool) bool {
	for _, arg := range call.Args {
		if id, ok := arg.(*ast.Ident); ok && tests[id.Name] {
			return true
		}
	}
	return false
}

func onTest(call *ast.CallExpr, tests map[string]bool) bool {
	id, ok := call.Fun.(*ast.SelectorExpr).X.(*ast.Ident)
	return ok && tests[id.Name]
}

func called(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}
