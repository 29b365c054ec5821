package main

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"strings"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/loopmesh/loopmesh/transportactors/framing"
)

// violation is a breach of the protocol: the connection is closed with code and why.
type violation struct {
	code ws.StatusCode
	why  string
}

func (v violation) Error() string { return fmt.Sprintf("%d %s", v.code, v.why) }

// message is a whole message, or a control frame. Its bytes are lent until the next one.
type message struct {
	op   ws.OpCode
	data []byte
}

// frames makes messages of what a client sends, and refuses what RFC 6455 forbids. It needs
// no connection. Owned by its client.
//
// A frame that is too large, or not allowed here, is refused when its header has come: its
// payload is never kept.
type frames struct {
	packets *framing.Buffer // payloads; what they are is in head
	limit   int
	head    ws.Header // of the payload that split gave last
	op      ws.OpCode // of the message whose frames are coming; 0: none is
	message []byte    // what has come of it
}

func newFrames(limit int) *frames {
	f := &frames{limit: limit}
	f.packets = framing.New(f.split, limit+ws.MaxHeaderSize)
	return f
}

// take adds bytes and gives one message after the other, and at last the violation that
// ends the connection, if there is one. Leaving the loop early loses nothing: take(nil) goes on.
func (f *frames) take(data []byte) iter.Seq2[message, error] {
	return func(yield func(message, error) bool) {
		for payload, err := range f.packets.Packets(data) {
			if err != nil {
				yield(message{}, asViolation(err))
				return
			}
			m, whole, err := f.add(payload)
			switch {
			case err != nil:
				yield(message{}, err)
				return
			case whole && !yield(m, nil):
				return
			}
		}
	}
}

// add takes the payload of one frame: whole says that it completes m.
func (f *frames) add(payload []byte) (m message, whole bool, err error) {
	if f.head.OpCode.IsControl() {
		return message{f.head.OpCode, payload}, true, nil
	}
	if f.head.OpCode != ws.OpContinuation {
		f.op = f.head.OpCode
	}
	if !f.head.Fin || len(f.message) > 0 {
		f.message = append(f.message, payload...)
		payload = f.message
	}
	if !f.head.Fin {
		return message{}, false, nil
	}
	m = message{f.op, payload}
	f.op, f.message = 0, nil
	if m.op == ws.OpText && !utf8.Valid(m.data) {
		return message{}, false, violation{ws.StatusInvalidFramePayloadData, "a text is not UTF-8"}
	}
	return m, true, nil
}

// split is a bufio.SplitFunc: its packets are the payloads of frames, unmasked in place.
func (f *frames) split(data []byte, _ bool) (advance int, payload []byte, err error) {
	size := headerSize(data)
	if len(data) < size {
		return 0, nil, nil
	}
	h, err := ws.ReadHeader(bytes.NewReader(data[:size]))
	if err == nil {
		err = f.check(h, size)
	}
	switch {
	case err != nil:
		return 0, nil, asViolation(err)
	case int64(len(data)-size) < h.Length:
		return 0, nil, nil
	}
	f.head, advance = h, size+int(h.Length)
	payload = data[size:advance]
	ws.Cipher(payload, h.Mask, 0)
	return advance, payload, nil
}

// check says whether a frame with this header may come now.
func (f *frames) check(h ws.Header, size int) error {
	state := ws.StateServerSide
	if f.op != 0 {
		state = state.Set(ws.StateFragmented)
	}
	switch err := ws.CheckHeader(h, state); {
	case err != nil:
		return err
	case ws.HeaderSize(h) != size:
		return violation{ws.StatusProtocolError, "a length has to be written as short as it goes"}
	case !h.OpCode.IsControl() && h.Length > int64(f.limit-len(f.message)):
		return violation{ws.StatusMessageTooBig, fmt.Sprintf("a message has at most %d bytes", f.limit)}
	}
	return nil
}

// headerSize is how long a header is, as far as it can be seen.
func headerSize(data []byte) int {
	if len(data) < ws.MinHeaderSize {
		return ws.MinHeaderSize
	}
	size := ws.MinHeaderSize
	switch data[1] & 0x7f {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	if data[1]&0x80 != 0 {
		size += 4 // the mask
	}
	return size
}

// asViolation makes an error of the library one that says how to close.
func asViolation(err error) error {
	if v := (violation{}); errors.As(err, &v) {
		return v
	}
	return violation{ws.StatusProtocolError, err.Error()}
}

// closing reads the payload of a Close frame and gives what to answer: the same code, or
// a violation.
func closing(payload []byte) violation {
	code, reason := ws.ParseCloseFrameData(payload)
	switch {
	case len(payload) == 0:
		return violation{code: ws.StatusNormalClosure}
	case len(payload) == 1:
		return violation{ws.StatusProtocolError, "a code has two bytes"}
	}
	if err := ws.CheckCloseFrameData(code, reason); errors.Is(err, ws.ErrProtocolInvalidUTF8) {
		return violation{ws.StatusInvalidFramePayloadData, "a reason is not UTF-8"}
	} else if err != nil || code >= 5000 {
		return violation{ws.StatusProtocolError, "a code that nobody may send"}
	}
	return violation{code: code}
}

// textFrame is a whole text message as it is sent.
func textFrame(text []byte) []byte { return compiled(ws.NewTextFrame(text)) }

// closeFrame is a Close frame as it is sent; its reason has at most 123 bytes.
func closeFrame(v violation) []byte {
	why := strings.ToValidUTF8(v.why[:min(len(v.why), 123)], "")
	return compiled(ws.NewCloseFrame(ws.NewCloseFrameBody(v.code, why)))
}

// compiled is the bytes of a frame. The library fails for lengths that no slice has.
func compiled(f ws.Frame) []byte { return ws.MustCompileFrame(f) }
