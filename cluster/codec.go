package cluster

import (
	"encoding/json"

	"github.com/loopmesh/loopmesh/internal/wire"
)

// encode writes v for the wire: bytes as they are, everything else as JSON.
func encode[T any](v T) (wire.Codec, []byte, error) {
	if b, ok := any(v).([]byte); ok {
		return wire.Raw, b, nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return 0, nil, codef(wire.BadPayload, "%w: %T cannot be written as JSON: %w", ErrBadPayload, v, err)
	}
	return wire.JSON, b, nil
}

// decode reads what encode wrote for the same type. b may be kept.
func decode[T any](codec wire.Codec, b []byte) (v T, err error) {
	switch codec {
	case wire.Raw:
		p, ok := any(&v).(*[]byte)
		if !ok {
			return v, codef(wire.BadPayload, "%w: bytes came where %T is expected", ErrBadPayload, v)
		}
		*p = b
	case wire.JSON:
		if err := json.Unmarshal(b, &v); err != nil {
			return v, codef(wire.BadPayload, "%w: it does not fit the type %T: %w", ErrBadPayload, v, err)
		}
	default:
		return v, codef(wire.BadPayload, "%w: codec %d is not known here", ErrBadPayload, codec)
	}
	return v, nil
}
