package base

import (
	"fmt"
	"reflect"

	"github.com/loopmesh/loopmesh/internal/guard"
	"github.com/loopmesh/loopmesh/loopnode"
)

// FromFactory calls a protocol factory and refuses nil; nobody else calls one. exited
// runs when the factory calls runtime.Goexit: then FromFactory does not return.
func FromFactory[P any](factory func() P, exited func()) (p P, err error) {
	returned := false
	defer func() {
		if !returned {
			exited()
		}
	}()
	fault := guard.Call(func() { p = factory() })
	returned = true
	if fault != nil {
		return p, fault
	}
	return p, notNil(p)
}

// notNil is loopnode.ErrInvalidArgument for a protocol that is nil or a nil
// pointer.
func notNil(p any) error {
	if v := reflect.ValueOf(p); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return fmt.Errorf("%w: the protocol factory returned nil", loopnode.ErrInvalidArgument)
	}
	return nil
}
