package codec

import (
	"encoding"
	"encoding/json"
	"reflect"
	"sync"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// Which types travel as JSON. The usual form is CBOR, by fields. A type that writes
// itself as JSON only (MarshalJSON, and no MarshalText, MarshalBinary or MarshalCBOR)
// has an idea of its form that its fields do not show; written by its fields it would
// arrive empty or wrong. So a value with such a type anywhere in it travels as JSON
// as a whole.

// jsonOnly remembers for each type whether it has to travel as JSON.
var jsonOnly sync.Map // reflect.Type → bool

// needsJSON reports whether t, or a type in it, writes itself as JSON and in no form
// that CBOR can carry. What an interface holds is not known before: such a value is
// written by its fields.
func needsJSON(t reflect.Type) bool {
	if known, ok := jsonOnly.Load(t); ok {
		return known.(bool)
	}
	needs := walk(t, map[reflect.Type]bool{})
	jsonOnly.Store(t, needs)
	return needs
}

var (
	marshalsJSON   = reflect.TypeFor[json.Marshaler]()
	marshalsCBOR   = reflect.TypeFor[cbor.Marshaler]()
	marshalsText   = reflect.TypeFor[encoding.TextMarshaler]()
	marshalsBinary = reflect.TypeFor[encoding.BinaryMarshaler]()
)

// walk looks at t and what it is made of. seen ends the walk of a type that contains
// itself.
func walk(t reflect.Type, seen map[reflect.Type]bool) bool {
	if seen[t] {
		return false
	}
	seen[t] = true
	has := func(i reflect.Type) bool {
		return t.Implements(i) || t.Kind() != reflect.Interface && reflect.PointerTo(t).Implements(i)
	}
	switch {
	case t == reflect.TypeFor[time.Time](), t == reflect.TypeFor[json.RawMessage](), t.Kind() == reflect.Interface:
		return false
	case has(marshalsCBOR), has(marshalsText), has(marshalsBinary):
		return false
	case has(marshalsJSON):
		return true
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return walk(t.Elem(), seen)
	case reflect.Map:
		return walk(t.Key(), seen) || walk(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); (f.IsExported() || f.Anonymous) && walk(f.Type, seen) {
				return true
			}
		}
	}
	return false
}
