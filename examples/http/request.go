package main

import (
	"bytes"
	"strconv"
	"strings"
)

// request is what this server looks at of one. Its bytes are lent by the buffer.
type request struct {
	method, path []byte
	head, keep   bool
	closes       bool // the client has said so
	body         int  // bytes behind the head
	lengths      int  // Content-Length fields
	hosts        int  // Host fields
}

func (r request) reads() bool { return r.head || string(r.method) == "GET" }

// refusal is a request that ends its connection.
type refusal struct{ status, text string }

func (f *refusal) answer() []byte {
	b := appendHead(nil, request{}, f.status, "text/plain; charset=utf-8", int64(len(f.text)))
	return append(b, f.text...)
}

const (
	maxHead = 16 << 10
	maxBody = 1 << 20 // of a body that is only skipped
)

var blankLine = []byte("\r\n\r\n")

var headTooLong = &refusal{"431 Request Header Fields Too Large", "the head is above 16 KiB\n"}

// parse reads the head of a request, blank line included.
func parse(head []byte) (r request, bad *refusal) {
	head = bytes.TrimSuffix(head, blankLine)
	line, fields, _ := bytes.Cut(head, blankLine[:2])
	var version, target []byte
	var ok1, ok2 bool
	r.method, target, ok1 = bytes.Cut(line, []byte(" "))
	target, version, ok2 = bytes.Cut(target, []byte(" "))
	if !ok1 || !ok2 || !isToken(r.method) || len(target) == 0 || target[0] != '/' || hasControl(target) || !isVersion(version) {
		return r, &refusal{"400 Bad Request", "the first line is not METHOD /path HTTP/1.x\n"}
	}
	r.path, _, _ = bytes.Cut(target, []byte("?"))
	r.head = string(r.method) == "HEAD"
	r.keep = string(version) != "HTTP/1.0"
	if bad = r.readFields(fields); bad != nil {
		return r, bad
	}
	if r.hosts > 1 || r.hosts == 0 && string(version) != "HTTP/1.0" {
		return r, &refusal{"400 Bad Request", "a request of HTTP/1.1 has exactly one Host field\n"}
	}
	return r, nil
}

// isVersion accepts HTTP/1. and one digit.
func isVersion(v []byte) bool {
	const prefix = "HTTP/1."
	return len(v) == len(prefix)+1 && string(v[:len(prefix)]) == prefix && v[len(prefix)] >= '0' && v[len(prefix)] <= '9'
}

// isToken accepts what RFC 9110 lets a method and the name of a field be. Why it is
// exact: a proxy in front may read "Content-Length\v: 5" as a length that we do not
// see, and would take for a body what is a request here.
func isToken(b []byte) bool {
	const others = "!#$%&'*+-.^_`|~"
	return len(b) > 0 && bytes.IndexFunc(b, func(c rune) bool {
		return !(c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || strings.ContainsRune(others, c))
	}) < 0
}

// hasControl reports control characters but tabs. Some programs end a line at a lone
// CR or LF and would see a field where we see a part of a value.
func hasControl(b []byte) bool {
	return bytes.ContainsFunc(b, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f })
}

// readConnection takes a list of options; close is the stronger one.
func (r *request) readConnection(value []byte) {
	for option := range bytes.SplitSeq(value, []byte(",")) {
		switch option = bytes.Trim(option, " \t"); {
		case bytes.EqualFold(option, []byte("close")):
			r.closes, r.keep = true, false
		case bytes.EqualFold(option, []byte("keep-alive")):
			r.keep = !r.closes
		}
	}
}

// readFields takes what matters from the header fields.
func (r *request) readFields(fields []byte) *refusal {
	for len(fields) > 0 {
		var line []byte
		line, fields, _ = bytes.Cut(fields, blankLine[:2])
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || !isToken(name) || hasControl(value) {
			return &refusal{"400 Bad Request", "a header field has no name, or a value with control characters\n"}
		}
		value = bytes.Trim(value, " \t") // not TrimSpace, which takes more than RFC 9110 does
		switch {
		case bytes.EqualFold(name, []byte("Connection")):
			r.readConnection(value)
		case bytes.EqualFold(name, []byte("Host")):
			r.hosts++
		case bytes.EqualFold(name, []byte("Content-Length")):
			if bad := r.readLength(value); bad != nil {
				return bad
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			return &refusal{"411 Length Required", "this server takes no chunked bodies\n"}
		}
	}
	return nil
}

// readLength takes a Content-Length. Why two that differ are refused: a proxy in
// front may have counted by the other one, and would take a body for a request.
func (r *request) readLength(value []byte) *refusal {
	n, err := strconv.ParseUint(string(value), 10, 31)
	switch r.lengths++; {
	case err != nil:
		return &refusal{"400 Bad Request", "Content-Length is not a number\n"}
	case r.lengths > 1 && int(n) != r.body:
		return &refusal{"400 Bad Request", "two Content-Length fields differ\n"}
	case n > maxBody:
		return &refusal{"413 Content Too Large", "this server skips bodies of at most 1 MiB\n"}
	}
	r.body = int(n)
	return nil
}

// appendHead writes the head of an answer whose body has n bytes.
func appendHead(b []byte, r request, status, kind string, n int64) []byte {
	b = append(append(b, "HTTP/1.1 "...), status...)
	b = append(append(b, "\r\nServer: loopmesh\r\nContent-Type: "...), kind...)
	b = strconv.AppendInt(append(b, "\r\nContent-Length: "...), n, 10)
	if !r.keep {
		b = append(b, "\r\nConnection: close"...)
	}
	return append(b, "\r\n\r\n"...)
}
