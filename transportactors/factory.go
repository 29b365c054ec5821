package transportactors

import (
	"fmt"
	"reflect"

	"github.com/loopmesh/loopmesh/internal/guard"
	"github.com/loopmesh/loopmesh/loopnode"
)

// fromFactory calls a protocol factory and refuses what is no protocol. gone
// runs when the factory leaves by runtime.Goexit: its caller is left, too.
func fromFactory[P any](factory func() P, gone func()) (p P, err error) {
	back := false
	defer func() {
		if !back {
			gone()
		}
	}()
	fault := guard.Call(func() { p = factory() })
	back = true
	if fault != nil {
		return p, fault
	}
	return p, notNil(p)
}

// notNil refuses a protocol that is nil, or a nil pointer.
func notNil(p any) error {
	if v := reflect.ValueOf(p); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return fmt.Errorf("%w: the protocol factory returned nil", loopnode.ErrInvalidArgument)
	}
	return nil
}
