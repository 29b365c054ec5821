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
)

var crlf = []byte("\r\n")

// parse takes one command off the front of b: its words, which point into b, and
// how many bytes it took, 0 when it has not come whole.
func parse(b []byte) (args [][]byte, n int, err error) {
	head, n, err := line(b)
	if n == 0 || err != nil {
		return nil, 0, err
	}
	if len(head) == 0 || head[0] != '*' {
		return bytes.Fields(head), n, nil // an inline command, as typed into nc
	}
	count, err := number(head[1:], maxArgs)
	if err != nil {
		return nil, 0, errors.New("invalid multibulk length")
	}
	for range count {
		arg, took, err := bulk(b[n:])
		if took == 0 || err != nil {
			return nil, 0, err
		}
		args = append(args, arg)
		n += took
	}
	return args, n, nil
}

// bulk takes $length, the bytes, and a line end.
func bulk(b []byte) (arg []byte, n int, err error) {
	head, n, err := line(b)
	if n == 0 || err != nil {
		return nil, 0, err
	}
	if len(head) == 0 || head[0] != '$' {
		return nil, 0, errors.New("expected '$'")
	}
	size, err := number(head[1:], maxBulk)
	if err != nil {
		return nil, 0, errors.New("invalid bulk length")
	}
	end := n + size + len(crlf)
	if len(b) < end {
		return nil, 0, nil
	}
	if !bytes.Equal(b[n+size:end], crlf) {
		return nil, 0, errors.New("a bulk string does not end in a line end")
	}
	return b[n : n+size : n+size], end, nil
}

// line takes a line without its end.
func line(b []byte) (text []byte, n int, err error) {
	i := bytes.IndexByte(b, '\n')
	switch {
	case i < 0 && len(b) > maxLine:
		return nil, 0, errors.New("too big inline request")
	case i < 0:
		return nil, 0, nil
	}
	return bytes.TrimSuffix(b[:i], crlf[:1]), i + 1, nil
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
