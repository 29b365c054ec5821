package wire

import "encoding/binary"

// Append writes f behind buf and returns the longer slice. It allocates only
// when buf is too short. It never fails: what does not fit the limits is for
// the caller to refuse before (see Frame.Check); an error text is cut.
func (f *Frame) Append(buf []byte) []byte {
	kind, has := f.form()
	buf = append(buf, Version, byte(kind))
	buf = binary.AppendUvarint(buf, f.ID)
	if has&fFrom != 0 {
		buf = appendString(buf, f.From)
		buf = binary.AppendUvarint(buf, f.FromNumber)
	}
	if has&fIncarnation != 0 {
		buf = binary.AppendUvarint(buf, f.Incarnation)
		buf = binary.AppendUvarint(buf, f.Loop)
	}
	if has&fPath != 0 {
		buf = appendString(buf, f.Path)
	}
	if has&fFunction != 0 {
		buf = appendString(buf, f.Function)
	}
	if has&fOp != 0 {
		buf = append(buf, byte(f.Op))
	}
	if has&fCodec != 0 {
		buf = append(buf, byte(f.Codec))
	}
	if has&fRemaining != 0 {
		buf = binary.AppendUvarint(buf, uint64(max(f.Remaining, 0)))
	}
	if has&fWhen != 0 {
		buf = binary.AppendVarint(buf, f.When)
	}
	if has&fFlow != 0 {
		buf = binary.AppendUvarint(buf, f.Flow)
		if f.Flow != 0 {
			buf = appendAmount(buf, f.At)
		}
	}
	if has&fGrant != 0 {
		buf = appendAmount(buf, f.Window)
		buf = binary.AppendUvarint(buf, f.Lost)
		buf = binary.AppendUvarint(buf, f.Refused)
	}
	if has&fError != 0 {
		buf = binary.AppendUvarint(buf, uint64(f.Code))
		buf = appendString(buf, f.Sentinel)
		buf = appendString(buf, cut(f.Message, MaxMessage))
	}
	return f.appendEnd(buf, has)
}

// form is the kind that travels and the fields that it has.
func (f *Frame) form() (kind Kind, has field) {
	kind = f.Kind
	if kind == Call && f.Trace != "" {
		kind = TracedCall
	}
	if kind < kindEnd {
		has = layout[kind]
	}
	return kind, has
}

// appendEnd writes the fields from the payload on.
func (f *Frame) appendEnd(buf []byte, has field) []byte {
	if has&fPayload != 0 {
		buf = binary.AppendUvarint(buf, uint64(len(f.Payload)))
		buf = append(buf, f.Payload...)
	}
	if has&fSender != 0 {
		buf = appendString(buf, f.Sender)
	}
	if has&fStanding != 0 {
		buf = append(buf, f.Standing)
	}
	if has&fRest != 0 {
		buf = append(buf, f.Payload...)
	}
	if has&fTrace != 0 {
		buf = appendString(buf, cut(f.Trace, MaxTrace))
	}
	return buf
}

// AppendHead writes f as Append does, but for the bytes of its payload: size of them
// follow elsewhere. Only for a kind whose payload is its last field, such as Stream; f
// has no payload.
func (f *Frame) AppendHead(buf []byte, size int) []byte {
	buf = f.Append(buf)
	return binary.AppendUvarint(buf[:len(buf)-1], uint64(size)) // in place of the length 0
}

func appendAmount(buf []byte, a Amount) []byte {
	buf = binary.AppendUvarint(buf, a.Messages)
	return binary.AppendUvarint(buf, a.Bytes)
}

func appendString(buf []byte, s string) []byte {
	buf = binary.AppendUvarint(buf, uint64(len(s)))
	return append(buf, s...)
}

// cut shortens s to n bytes without splitting a UTF-8 sequence.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n]
}
