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

// parser finds commands in the bytes of a connection. Its split is the split function
// of a framing.Buffer, which keeps what is not a whole command yet and calls it again
// with more. The parser remembers how far it has read, so that a command of 65,536
// words in 20,000 pieces costs as much as one in a single piece. Owned by the loop.
type parser struct {
	b []byte // what split was called with: the command at the front, and what follows

	pos     int    // how far that command has been read
	scanned int    // b has no line end between pos and here
	left    int    // words of an array that have not been read
	words   []span // those that have been
}

// span is a word, as offsets in b.
type span struct{ from, to int }

// split is a bufio.SplitFunc: its packet is a whole command, whose words args gives.
func (p *parser) split(data []byte, _ bool) (advance int, command []byte, err error) {
	p.b = data
	if p.pos == 0 {
		p.words = p.words[:0]
	}
	whole, err := p.read()
	if !whole || err != nil {
		return 0, nil, err
	}
	advance = p.pos
	p.pos, p.scanned = 0, 0
	return advance, data[:advance:advance], nil
}

// read goes on with the command at the front of b; whole: all of it is there.
func (p *parser) read() (whole bool, err error) {
	if p.left == 0 {
		head, ok, err := p.line()
		if !ok || err != nil {
			return false, err
		}
		if len(head) == 0 || head[0] != '*' { // an inline command, as typed into nc
			p.fields(head)
			return true, nil
		}
		if p.left, err = number(head[1:], maxArgs); err != nil {
			return false, errors.New("invalid multibulk length")
		}
	}
	for ; p.left > 0; p.left-- {
		w, ok, err := p.bulk()
		if !ok || err != nil {
			return false, err
		}
		p.words = append(p.words, w)
	}
	return true, nil
}

// fields are the words of an inline command, which is at the front of b.
func (p *parser) fields(head []byte) {
	at := 0
	for word := range bytes.FieldsSeq(head) {
		at += bytes.Index(head[at:], word)
		p.words = append(p.words, span{at, at + len(word)})
		at += len(word)
	}
}

// args are the words of the command that split has given last; none for an empty line.
func (p *parser) args(command []byte) [][]byte {
	args := make([][]byte, len(p.words))
	for i, w := range p.words {
		args[i] = command[w.from:w.to:w.to]
	}
	if cap(p.words) > maxKept {
		p.words = nil
	}
	return args
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
