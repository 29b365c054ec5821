package main

import (
	"bytes"
	"errors"
	"testing"

	"github.com/gobwas/ws"
)

// take is everything that frames makes of data that comes in pieces of so many bytes.
func take(data []byte, limit, step int) (all []message, err error) {
	f := newFrames(limit)
	for rest := data; len(rest) > 0 && err == nil; rest = rest[min(step, len(rest)):] {
		for m, failed := range f.take(bytes.Clone(rest[:min(step, len(rest))])) {
			if err = failed; err == nil {
				all = append(all, message{m.op, bytes.Clone(m.data)})
			}
		}
		if kept := f.packets.Buffered() + len(f.message); err == nil && kept > 2*limit+ws.MaxHeaderSize {
			return all, errors.New("it keeps too much")
		}
	}
	return all, err
}

// FuzzFrames: whatever comes, and however it is cut, it makes the same messages and ends with
// the same violation, and what is kept is bounded.
func FuzzFrames(f *testing.F) {
	for _, a := range abuses {
		if len(a.bytes) < 1000 {
			f.Add(a.bytes, uint8(3))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, step uint8) {
		const limit = 200
		whole, why := take(data, limit, max(len(data), 1))
		pieces, again := take(data, limit, int(step)+1)
		if (why == nil) != (again == nil) || why != nil && why != again {
			t.Fatalf("in one piece it ends with %v, in pieces with %v", why, again)
		}
		if v := (violation{}); why != nil && !errors.As(why, &v) {
			t.Fatalf("%v says no code", why)
		}
		if len(whole) != len(pieces) {
			t.Fatalf("in one piece there are %d messages, in pieces %d", len(whole), len(pieces))
		}
		for i := range whole {
			if whole[i].op != pieces[i].op || !bytes.Equal(whole[i].data, pieces[i].data) || len(whole[i].data) > limit {
				t.Fatalf("message %d is %v, or %v", i, whole[i], pieces[i])
			}
		}
	})
}
