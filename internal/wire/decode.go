package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// What Decode says about input it refuses. errors.Is works on all of them;
// each is also ErrMalformed.
var (
	ErrMalformed = errors.New("malformed frame")
	ErrVersion   = fmt.Errorf("%w: unknown version", ErrMalformed)
	ErrKind      = fmt.Errorf("%w: unknown kind", ErrMalformed)
	ErrShort     = fmt.Errorf("%w: cut short", ErrMalformed)
	ErrTrailing  = fmt.Errorf("%w: bytes after the end", ErrMalformed)
	ErrLimit     = fmt.Errorf("%w: a field is above its limit", ErrMalformed)
	ErrValue     = fmt.Errorf("%w: a field has an impossible value", ErrMalformed)
)

// Decode reads exactly one frame from b into f. It never panics and never
// allocates more than the names in b need; names may be nil.
// f.Payload points into b: b must not change while f is in use.
func Decode(b []byte, f *Frame, names *Names) error {
	*f = Frame{}
	if len(b) < 2 {
		return ErrShort
	}
	if b[0] != Version {
		return fmt.Errorf("%w %d (this node speaks %d)", ErrVersion, b[0], Version)
	}
	kind := Kind(b[1])
	if kind >= kindEnd || layout[kind] == 0 {
		return fmt.Errorf("%w %d", ErrKind, b[1])
	}
	f.Kind = kind
	if kind == TracedCall {
		f.Kind = Call // all that handle calls handle it
	}
	r := reader{b: b[2:], names: names}
	f.ID = r.uvarint()
	r.fields(f, layout[kind])
	if r.err == nil && len(r.b) != 0 {
		r.err = ErrTrailing
	}
	return r.err
}

// reader takes fields off the front of b. After the first error it returns
// zero values, so callers look at err once, at the end.
type reader struct {
	b     []byte
	names *Names
	err   error
}

func (r *reader) fields(f *Frame, has field) {
	if has&fFrom != 0 {
		f.From = r.name(MaxName, 0)
		f.FromNumber = r.uvarint()
	}
	if has&fIncarnation != 0 {
		f.Incarnation = r.uvarint()
		f.Loop = r.uvarint()
	}
	if has&fPath != 0 {
		f.Path = r.name(MaxPath, 1)
	}
	if has&fFunction != 0 {
		f.Function = r.name(MaxName, 2)
	}
	if has&fOp != 0 {
		f.Op = r.op(f.Kind)
	}
	if has&fCodec != 0 {
		f.Codec = Codec(r.byte())
	}
	if has&fRemaining != 0 {
		f.Remaining = r.duration()
	}
	if has&fWhen != 0 {
		f.When = r.varint()
	}
	if has&fFlow != 0 {
		if f.Flow = r.uvarint(); f.Flow != 0 {
			f.At = r.amount()
		}
	}
	if has&fGrant != 0 {
		f.Window = r.amount()
		f.Lost = r.uvarint()
		f.Refused = r.uvarint()
	}
	if has&fError != 0 {
		f.Code = r.code()
		f.Sentinel = r.name(MaxName, 3)
		f.Message = string(r.bytes(MaxMessage))
	}
	if has&fPayload != 0 {
		f.Payload = r.bytes(math.MaxInt32)
	}
	if has&fSender != 0 {
		f.Sender = r.name(MaxAddress, 4)
	}
	if has&fStanding != 0 {
		f.Standing = r.byte()
	}
	if has&fRest != 0 {
		f.Payload = r.rest(MaxBatch)
	}
	if has&fTrace != 0 {
		f.Trace = string(r.bytes(MaxTrace))
	}
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.b = nil
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail(ErrShort)
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	return r.took(v, n)
}

func (r *reader) amount() Amount {
	messages := r.uvarint()
	return Amount{messages, r.uvarint()}
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	return int64(r.took(uint64(v), n))
}

// took moves past a varint of n bytes; n is 0 or negative when it was bad.
func (r *reader) took(v uint64, n int) uint64 {
	switch {
	case n > 0:
		r.b = r.b[n:]
		return v
	case n == 0:
		r.fail(ErrShort)
	default:
		r.fail(ErrValue)
	}
	return 0
}

func (r *reader) op(kind Kind) Op {
	op := Op(r.byte())
	if r.err == nil && !op.of(kind) {
		r.fail(ErrValue)
		return 0
	}
	return op
}

func (r *reader) code() Code {
	v := r.uvarint()
	if v > math.MaxUint16 {
		r.fail(ErrValue)
		return 0
	}
	return Code(v)
}

func (r *reader) duration() time.Duration {
	v := r.uvarint()
	if v > math.MaxInt64 {
		r.fail(ErrValue)
		return 0
	}
	return time.Duration(v)
}

// bytes is a length and that many bytes, not copied.
func (r *reader) bytes(limit uint64) []byte {
	n := r.uvarint()
	switch {
	case r.err != nil || n == 0:
		return nil
	case n > limit:
		r.fail(ErrLimit)
		return nil
	case n > uint64(len(r.b)):
		r.fail(ErrShort)
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

// rest is everything that is left, not copied.
func (r *reader) rest(limit int) []byte {
	if len(r.b) > limit {
		r.fail(ErrLimit)
		return nil
	}
	if len(r.b) == 0 {
		return nil
	}
	out := r.b[:len(r.b):len(r.b)]
	r.b = nil
	return out
}

// name reads a string that comes again in other frames. field tells the names of one
// frame apart, see Names.
func (r *reader) name(limit uint64, field int) string {
	b := r.bytes(limit)
	if len(b) == 0 {
		return ""
	}
	return r.names.intern(b, field)
}
