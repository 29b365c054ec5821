// Package codec writes arguments, results and messages as bytes and reads them. Each
// frame says how its payload is written (wire.Codec), so a reader takes all forms:
//
//   - bytes as they are ([]byte; also as an any);
//   - protobuf messages as protobuf;
//   - everything else as CBOR (RFC 8949), which is smaller and quicker than JSON and
//     knows bytes, integers of 64 bits and NaN. Names of fields come from the tags
//     `cbor` or `json`, else they are those of Go;
//   - JSON where the type, or one in it, writes itself as JSON only (MarshalJSON), and
//     where the one who asks wrote JSON, such as a command line. The tables of types are
//     walked once for each type.
//
// How a type may change while programs of both versions run:
//
//   - a new field is zero for the reader that gets a value without it, and is ignored by
//     the reader that does not know it;
//   - a field may be removed; the reader that still has it reads zero. Do not use its
//     name again for something else;
//   - to rename a field is to remove one and to add another;
//   - the type of a field may change where values of the old one fit the new one (int32
//     to int64, a value to a pointer of it). Else a call ends with ErrBadPayload;
//   - a new meaning needs a new name, of the field, the message or the function.
package codec

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"

	"github.com/fxamacker/cbor/v2"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/internal/wire"
)

var (
	encoder = must(cbor.EncOptions{
		Time:          cbor.TimeRFC3339Nano,
		TimeTag:       cbor.EncTagRequired, // an any is to know it for a time
		TextMarshaler: cbor.TextMarshalerTextString,
	}.UserBufferEncMode())
	// What a peer can send is bounded by the size of a payload; the counts of the
	// decoder would refuse what JSON takes.
	decoder = must(cbor.DecOptions{
		DefaultMapType:   reflect.TypeFor[map[string]any](),
		IntDec:           cbor.IntDecConvertSignedOrBigInt,
		BigIntDec:        cbor.BigIntDecodePointer,
		UTF8:             cbor.UTF8DecodeInvalid, // a string of Go may hold any bytes
		TextUnmarshaler:  cbor.TextUnmarshalerTextString,
		MaxArrayElements: math.MaxInt32, MaxMapPairs: math.MaxInt32, MaxNestedLevels: 256,
	}.DecMode())
)

func must[M any](mode M, err error) M {
	if err != nil {
		panic(err) // the options above do not fit together
	}
	return mode
}

// Encode writes v in the form that suits its type.
func Encode[T any](v T) (wire.Codec, []byte, error) { return EncodeFor(wire.CBOR, v) }

// EncodeFor is Encode for who asked in that form: JSON is answered with JSON.
func EncodeFor[T any](asked wire.Codec, v T) (wire.Codec, []byte, error) {
	switch m := any(v).(type) {
	case []byte:
		return wire.Raw, m, nil
	case proto.Message:
		if asked == wire.JSON {
			b, err := protojson.Marshal(m)
			return wire.JSON, b, unwritable[T](err)
		}
		b, err := proto.Marshal(m)
		return wire.Proto, b, unwritable[T](err)
	}
	t := reflect.TypeOf(v)
	if asked == wire.JSON || t != nil && needsJSON(t) {
		b, err := json.Marshal(v)
		return wire.JSON, b, unwritable[T](err)
	}
	if t != nil && mayLoop(t) {
		if err := checkNesting(reflect.ValueOf(v), 0); err != nil {
			return wire.CBOR, nil, unwritable[T](err)
		}
	}
	b, err := encoder.Marshal(v)
	return wire.CBOR, b, unwritable[T](err)
}

// Form is how values of T travel, as far as the type tells. A caller that writes many
// keeps it: it knows once what Encode finds out for each value.
type Form[T any] struct{ plain bool }

// FormOf makes the Form of T.
func FormOf[T any]() Form[T] {
	t := reflect.TypeFor[T]()
	written := t == reflect.TypeFor[[]byte]() || t.Kind() == reflect.Interface || t.Implements(reflect.TypeFor[proto.Message]())
	return Form[T]{plain: !written && !needsJSON(t) && !mayLoop(t)}
}

// Encode is Encode of *v. What it returns may be part of buf, which must be empty.
func (f Form[T]) Encode(v *T, buf *bytes.Buffer) (wire.Codec, []byte, error) {
	if !f.plain {
		return Encode(*v)
	}
	if err := encoder.MarshalToBuffer(v, buf); err != nil {
		return wire.CBOR, nil, unwritable[T](err)
	}
	return wire.CBOR, buf.Bytes(), nil
}

func unwritable[T any](err error) error {
	if err == nil {
		return nil
	}
	return fault.Codef(wire.BadPayload, "%w: %v cannot be written: %w", fault.ErrBadPayload, reflect.TypeFor[T](), err)
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
		return v, nil
	case wire.CBOR:
		err = decoder.Unmarshal(b, &v)
	case wire.JSON:
		if _, ok := any(v).(proto.Message); ok {
			return decodeProto[T](b, protojson.Unmarshal)
		}
		err = json.Unmarshal(b, &v)
	case wire.Proto:
		return decodeProto[T](b, proto.Unmarshal)
	default:
		return v, fault.Codef(wire.BadPayload, "%w: codec %d is not known here", fault.ErrBadPayload, codec)
	}
	if err != nil {
		return v, fault.Codef(wire.BadPayload, "%w: it does not fit the type %v: %w", fault.ErrBadPayload, reflect.TypeFor[T](), err)
	}
	return v, nil
}

func decodeProto[T any](b []byte, read func([]byte, proto.Message) error) (v T, err error) {
	t := reflect.TypeFor[T]()
	if _, ok := any(v).(proto.Message); !ok || t.Kind() != reflect.Pointer {
		return v, fault.Codef(wire.BadPayload, "%w: a protobuf message came where %v is expected", fault.ErrBadPayload, t)
	}
	m := reflect.New(t.Elem()).Interface().(proto.Message)
	if err := read(b, m); err != nil {
		return v, fault.Codef(wire.BadPayload, "%w: it does not fit the message %v: %w", fault.ErrBadPayload, t, err)
	}
	return m.(T), nil
}
