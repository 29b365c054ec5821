package transportactors_test

import (
	"reflect"
	"testing"

	"github.com/loopmesh/loopmesh/transportactors"
)

// TestAStreamIsNoProtocol: the calls of a protocol are for the transport. A Stream
// has none of them, so that its reader cannot take them for something to call.
func TestAStreamIsNoProtocol(t *testing.T) {
	stream := reflect.TypeFor[*transportactors.Stream]()
	for _, p := range []reflect.Type{reflect.TypeFor[transportactors.Protocol](), reflect.TypeFor[transportactors.EOFReceiver](), reflect.TypeFor[transportactors.WritePauser]()} {
		for i := range p.NumMethod() {
			if _, has := stream.MethodByName(p.Method(i).Name); has {
				t.Errorf("Stream has %s of %v", p.Method(i).Name, p)
			}
		}
	}
}
