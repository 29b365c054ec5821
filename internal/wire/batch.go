package wire

import "encoding/binary"

// A Batch frame is version, kind, a zero id, then frames until the end, each
// behind its length in four bytes, lowest first. Why no varint: a frame is
// written in place before its length is known.
const (
	BatchHead  = 3        // bytes before the first length
	BatchEach  = 4        // bytes before each frame
	MaxBatch   = 64 << 10 // what of it Decode accepts, in bytes; one message must not hold up a node for long
	minInBatch = 3        // version, kind, id
)

// AppendBatch writes the head of a batch behind buf.
func AppendBatch(buf []byte) []byte { return append(buf, Version, byte(Batch), 0) }

// AppendInBatch writes f behind the batch in buf.
func (f *Frame) AppendInBatch(buf []byte) []byte {
	at := len(buf)
	buf = f.Append(append(buf, 0, 0, 0, 0))
	binary.LittleEndian.PutUint32(buf[at:], uint32(len(buf)-at-BatchEach))
	return buf
}

// NextInBatch takes the first frame off the Payload of a decoded Batch. A bad
// length is an error that ends the batch. It copies nothing.
func NextInBatch(b []byte) (frame, rest []byte, err error) {
	if len(b) < BatchEach {
		return nil, nil, ErrShort
	}
	size := uint64(binary.LittleEndian.Uint32(b))
	b = b[BatchEach:]
	switch {
	case size < minInBatch:
		return nil, nil, ErrValue
	case size > uint64(len(b)):
		return nil, nil, ErrShort
	}
	return b[:size:size], b[size:], nil
}
