package codec

import (
	"fmt"
	"reflect"
	"sync"
	"time"
)

// A value that contains itself has no end, and the CBOR encoder follows it until the
// stack is full, which ends the process: no recover helps. So a value whose type lets it
// contain itself is looked at before it is written. JSON has a check of its own.

// maxHops bounds how many pointers, interfaces, elements and fields lie on the way to a
// part of a value. What the decoder takes (MaxNestedLevels) has fewer.
const maxHops = 1024

// canLoop remembers for each type whether its values can contain themselves.
var canLoop sync.Map // reflect.Type → bool

// mayLoop reports whether a value of t can contain itself: t is a part of itself, or
// has an interface in it, which may hold anything.
func mayLoop(t reflect.Type) bool {
	if known, ok := canLoop.Load(t); ok {
		return known.(bool)
	}
	may := loops(t, map[reflect.Type]bool{})
	canLoop.Store(t, may)
	return may
}

// loops looks for an interface, or for a type that t is a part of: its entry in seen is
// true. The entry of a type in which there is none is false.
func loops(t reflect.Type, seen map[reflect.Type]bool) bool {
	if above, known := seen[t]; known || t.Kind() == reflect.Interface {
		return above || !known
	}
	if writesItself(t) {
		return false
	}
	seen[t] = true
	defer func() { seen[t] = false }()
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return loops(t.Elem(), seen)
	case reflect.Map:
		return loops(t.Key(), seen) || loops(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); written(f) && loops(f.Type, seen) {
				return true
			}
		}
	}
	return false
}

// writesItself reports whether the encoder leaves values of t to a method of t.
func writesItself(t reflect.Type) bool {
	if t == reflect.TypeFor[time.Time]() {
		return true
	}
	for _, i := range []reflect.Type{marshalsCBOR, marshalsText, marshalsBinary} {
		if t.Implements(i) || t.Kind() != reflect.Interface && reflect.PointerTo(t).Implements(i) {
			return true
		}
	}
	return false
}

// written reports whether the encoder writes the field.
func written(f reflect.StructField) bool {
	tag, ok := f.Tag.Lookup("cbor")
	if !ok {
		tag = f.Tag.Get("json")
	}
	return tag != "-" && (f.IsExported() || f.Anonymous)
}

// checkNesting is an error for a value that contains itself, or that no reader takes.
func checkNesting(v reflect.Value, hops int) error {
	if !v.IsValid() || !mayLoop(v.Type()) || v.Kind() != reflect.Interface && writesItself(v.Type()) {
		return nil
	}
	if hops > maxHops {
		return fmt.Errorf("the value contains itself, or is nested too deeply, at a %v", v.Type())
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return checkNesting(v.Elem(), hops+1)
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if err := checkNesting(v.Index(i), hops+1); err != nil {
				return err
			}
		}
	case reflect.Map:
		for at := v.MapRange(); at.Next(); {
			for _, part := range []reflect.Value{at.Key(), at.Value()} {
				if err := checkNesting(part, hops+1); err != nil {
					return err
				}
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if !written(v.Type().Field(i)) {
				continue
			}
			if err := checkNesting(v.Field(i), hops+1); err != nil {
				return err
			}
		}
	}
	return nil
}
