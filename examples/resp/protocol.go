package main

import (
	"bytes"
	"errors"
	"strconv"
)

// What a client can make the server keep.
const (
	maxCommand = 16 << 20
	maxArgs    = 1 << 16
	maxBulk    = 8 << 20
	maxLine    = 64 << 10
	maxReply   = 16 << 20 // of one command
	maxStore   = 1 << 30  // of all keys and values
	flushAt    = 64 << 10 // replies are written when they are this long
	maxKept    = 64 << 10 // of buffers between two commands
)

var crlf = []byte("\r\n")

// parser takes commands out of the bytes of a connection, in whatever pieces they
// come. It remembers how far it has read, so that a command of 65,536 words in
// 20,000 pieces costs as much as one in a single piece. Owned by the loop.
//
// feed gives it a piece, next takes one command after the other until none is
// whole, keep copies what is left: the piece is lent.
type parser struct {
	kept []byte // the beginning of a command that has not come whole
	b    []byte // what is left to read: the piece, or kept with the piece behind it

	pos     int    // how far the command at the front of b has been read
	scanned int    // b has no line end between pos and here
	left    int    // words of an array that have not been read
	words   []span // those that have been
}

// span is a word, as offsets in b.
type span struct{ from, to int }

func (p *parser) feed(piece []byte) {
	if len(p.kept) == 0 {
		p.b = piece
		return
	}
	p.kept = append(p.kept, piece...)
	p.b = p.kept
}

// next is the next command, its words lent by the piece; ok is false when none is
// whole. An empty command is an empty line.
func (p *parser) next() (args [][]byte, ok bool, err error) {
	if p.left == 0 {
		head, ok, err := p.line()
		if !ok || err != nil {
			return nil, false, err
		}
		if len(head) == 0 || head[0] != '*' { // an inline command, as typed into nc
			args = bytes.Fields(head)
			p.done()
			return args, true, nil
		}
		if p.left, err = number(head[1:], maxArgs); err != nil {
			return nil, false, errors.New("invalid multibulk length")
		}
	}
	for ; p.left > 0; p.left-- {
		w, ok, err := p.bulk()
		if !ok || err != nil {
			return nil, false, err
		}
		p.words = append(p.words, w)
	}
	args = make([][]byte, len(p.words))
	for i, w := range p.words {
		args[i] = p.b[w.from:w.to:w.to]
	}
	p.done()
	return args, true, nil
}

// done takes the command off the front.
func (p *parser) done() {
	p.b = p.b[p.pos:]
	p.pos, p.scanned, p.words = 0, 0, p.words[:0]
	if cap(p.words) > maxKept {
		p.words = nil
	}
}

// keep holds on to the command that has not come whole. When nothing was taken off
// since feed, it lies in kept already.
func (p *parser) keep() {
	switch {
	case len(p.b) == 0:
		p.kept = p.kept[:0]
	case len(p.kept) != len(p.b):
		p.kept = append(p.kept[:0], p.b...)
	}
	if len(p.kept) == 0 && cap(p.kept) > maxKept {
		p.kept = nil // the memory of a large command
	}
	p.b = p.kept
}

// bulk reads $length, the bytes, and a line end.
func (p *parser) bulk() (w span, ok bool, err error) {
	start := p.pos
	head, ok, err := p.line()
	if !ok || err != nil {
		return w, false, err
	}
	if len(head) == 0 || head[0] != '$' {
		return w, false, errors.New("expected '$'")
	}
	size, err := number(head[1:], maxBulk)
	if err != nil {
		return w, false, errors.New("invalid bulk length")
	}
	end := p.pos + size + len(crlf)
	if len(p.b) < end {
		if end > maxCommand {
			return w, false, errTooBig
		}
		p.pos = start // the length is read again: it is short
		return w, false, nil
	}
	if !bytes.Equal(p.b[end-len(crlf):end], crlf) {
		return w, false, errors.New("a bulk string does not end in a line end")
	}
	w = span{p.pos, p.pos + size}
	p.pos, p.scanned = end, end
	return w, true, nil
}

var errTooBig = errors.New("too big a command")

// line reads a line without its end.
func (p *parser) line() (text []byte, ok bool, err error) {
	p.scanned = max(p.scanned, p.pos)
	i := bytes.IndexByte(p.b[p.scanned:], '\n')
	switch {
	case i < 0 && len(p.b)-p.pos > maxLine:
		return nil, false, errors.New("too big inline request")
	case i < 0 && len(p.b) > maxCommand:
		return nil, false, errTooBig
	case i < 0:
		p.scanned = len(p.b)
		return nil, false, nil
	}
	end := p.scanned + i
	if end-p.pos > maxLine {
		return nil, false, errors.New("too big inline request")
	}
	text = bytes.TrimSuffix(p.b[p.pos:end], crlf[:1])
	p.pos = end + 1
	return text, true, nil
}

func number(b []byte, limit int) (int, error) {
	n, err := strconv.Atoi(string(b))
	if err == nil && (n < 0 || n > limit) {
		err = strconv.ErrRange
	}
	return n, err
}

// The kinds of reply, appended to out.

func appendOK(out []byte) []byte { return append(out, "+OK\r\n"...) }

func appendError(out []byte, text string) []byte {
	return append(append(append(out, "-ERR "...), text...), crlf...)
}

func appendInt(out []byte, n int64) []byte {
	return append(strconv.AppendInt(append(out, ':'), n, 10), crlf...)
}

func appendBulk(out []byte, b []byte) []byte {
	out = strconv.AppendInt(append(out, '$'), int64(len(b)), 10)
	return append(append(append(out, crlf...), b...), crlf...)
}

func appendNil(out []byte) []byte { return append(out, "$-1\r\n"...) }

func appendArray(out []byte, n int) []byte {
	return append(strconv.AppendInt(append(out, '*'), int64(n), 10), crlf...)
}
