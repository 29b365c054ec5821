package arch

import (
	"go/ast"
	"regexp"
	"slices"
	"strings"
)

// A sleeping loop is a stuck loop, and a sleeping test is a slow or a flaky
// one; both wait for an event instead.
func noSleep(m *module) []finding {
	return calls(m, m.files, "time", "Sleep", "sleeps: wait for an event, a condition or a timer")
}

// Why: a task that yields under another thread lock kills the process.
func noThreadLock(m *module) []finding {
	out := calls(m, m.files, "runtime", "LockOSThread", "locks a thread: coroutines may not yield under a lock")
	return append(out, calls(m, m.files, "runtime", "UnlockOSThread", "unlocks a thread")...)
}

// calls finds pkg.name, also when it is only mentioned (a method value).
func calls(m *module, files []*source, pkg, name, text string) []finding {
	var out []finding
	for _, f := range files {
		local := f.local(pkg)
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if got, ok := selected(sel, local); ok && got == name {
					out = append(out, m.at(f, sel.Pos(), "%s", text))
				}
			}
			return true
		})
	}
	return out
}

// unsafeDir hands pointers to the kernel, where x/sys has no wrapper, and nowhere else.
const unsafeDir = "internal/rawio"

func noUnsafe(m *module) []finding {
	var out []finding
	for _, f := range m.files {
		if f.dir == unsafeDir {
			continue
		}
		if pos, ok := f.imports()["unsafe"]; ok {
			out = append(out, m.at(f, pos, "imports unsafe: only %s may", unsafeDir))
		}
	}
	return out
}

// noDirectives: the race detector sees everything, and nothing reaches into
// the runtime by name.
func noDirectives(m *module) []finding {
	var out []finding
	for _, f := range m.files {
		for _, group := range f.ast.Comments {
			for _, c := range group.List {
				if strings.HasPrefix(c.Text, "//go:norace") || strings.HasPrefix(c.Text, "//go:linkname") {
					out = append(out, m.at(f, c.Pos(), "has the directive %s", strings.Fields(c.Text)[0]))
				}
			}
		}
	}
	return out
}

func noInit(m *module) []finding {
	var out []finding
	for _, f := range m.files {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				out = append(out, m.at(f, fn.Pos(), "has an init function: do it in a constructor"))
			}
		}
	}
	return out
}

// recoverDirs is where panics of user code are caught, and nowhere else: a
// recover elsewhere hides a defect of ours.
var recoverDirs = []string{"internal/guard", "internal/coro"}

func recoverPlaces(m *module) []finding {
	var out []finding
	for _, f := range m.production() {
		if matchesAny(recoverDirs, f.dir) {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if id, ok := call.Fun.(*ast.Ident); ok && id.Name == "recover" {
					out = append(out, m.at(f, call.Pos(), "recovers: call user code through internal/guard"))
				}
			}
			return true
		})
	}
	return out
}

// skips are the methods with which a test says that it did not run.
var skips = []string{"Skip", "Skipf", "SkipNow"}

// noSkips: green means that it ran. What needs a foreign program stands behind
// a build tag in a file of its own.
func noSkips(m *module) []finding {
	var out []finding
	for _, f := range m.files {
		if !f.test {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !slices.Contains(skips, sel.Sel.Name) {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && slices.Contains([]string{"t", "b", "f", "tb"}, x.Name) {
				out = append(out, m.at(f, call.Pos(), "skips"))
			}
			return true
		})
	}
	return out
}

// unfinished are the words of work that somebody meant to come back to.
var unfinished = regexp.MustCompile(`TODO|FIXME|XXX|(?i:not implemented|unimplemented|placeholder|\bfor now\b)`)

func noUnfinished(m *module) []finding {
	var out []finding
	for _, f := range m.production() {
		for i, line := range strings.Split(f.text, "\n") {
			if word := unfinished.FindString(line); word != "" {
				out = append(out, finding{f.path, i + 1, "says " + word})
			}
		}
	}
	return out
}
