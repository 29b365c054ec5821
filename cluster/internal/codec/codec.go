// Package codec writes arguments, results and messages as bytes and reads them.
package codec

import (
	"encoding/json"
	"reflect"

	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/internal/wire"
)

// Encode writes v for the wire: bytes as they are, everything else as JSON.
func Encode[T any](v T) (wire.Codec, []byte, error) {
	if b, ok := any(v).([]byte); ok {
		return wire.Raw, b, nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return 0, nil, fault.Codef(wire.BadPayload, "%w: %v cannot be written as JSON: %w", fault.ErrBadPayload, reflect.TypeFor[T](), err)
	}
	return wire.JSON, b, nil
}

// Decode reads what Encode wrote for the same type. b may be kept.
func Decode[T any](codec wire.Codec, b []byte) (v T, err error) {
	switch codec {
	case wire.Raw:
		switch p := any(&v).(type) {
		case *[]byte:
			*p = b
		case *any: // a function of any type
			*p = b
		default:
			return v, fault.Codef(wire.BadPayload, "%w: bytes came where %v is expected", fault.ErrBadPayload, reflect.TypeFor[T]())
		}
	case wire.JSON:
		if err := json.Unmarshal(b, &v); err != nil {
			return v, fault.Codef(wire.BadPayload, "%w: it does not fit the type %v: %w", fault.ErrBadPayload, reflect.TypeFor[T](), err)
		}
	default:
		return v, fault.Codef(wire.BadPayload, "%w: codec %d is not known here", fault.ErrBadPayload, codec)
	}
	return v, nil
}
