package transportactors

import (
	"reflect"
	"strings"
	"sync"

	"github.com/loopmesh/loopmesh/loopnode"
)

// optional are the methods that a protocol may have or lack, with the interface
// each belongs to.
var optional = map[string]reflect.Type{
	"EOFReceived":   reflect.TypeFor[EOFReceiver](),
	"PauseWriting":  reflect.TypeFor[WritePauser](),
	"ResumeWriting": reflect.TypeFor[WritePauser](),
	"GetBuffer":     reflect.TypeFor[BufferedProtocol](),
	"BufferUpdated": reflect.TypeFor[BufferedProtocol](),
	"FilesReceived": reflect.TypeFor[FilesReceiver](),
}

// looked are the types of protocols that warnMisspelt has seen, so that each is
// told once.
var looked sync.Map // reflect.Type → struct{}

// warnMisspelt logs, in debug mode, methods of p that look like optional ones but
// are not called, because the name or the form differs.
func warnMisspelt(l *loopnode.Loop, p any) {
	if !l.Debug() || p == nil {
		return
	}
	if _, seen := looked.LoadOrStore(reflect.TypeOf(p), struct{}{}); seen {
		return
	}
	for _, m := range misspeltMethods(p) {
		l.Logger().Warn("a protocol's method is never called: its name or its form is not that of the optional method it looks like",
			"protocol", reflect.TypeOf(p).String(), "method", m)
	}
}

// misspeltMethods are those methods, each with the name that was probably meant.
func misspeltMethods(p any) (out []string) {
	t := reflect.TypeOf(p)
	for i := range t.NumMethod() {
		name := t.Method(i).Name
		for want, whole := range optional {
			if strings.EqualFold(name, want) && (name != want || !t.Implements(whole)) {
				out = append(out, name+" ("+want+")")
			}
		}
	}
	return out
}
