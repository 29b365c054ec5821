package wire

import (
	"bytes"
	"errors"
	"testing"
)

func TestABatchGivesBackItsFrames(t *testing.T) {
	b := AppendBatch(nil)
	if len(b) != BatchHead {
		t.Fatalf("head of %d bytes", len(b))
	}
	var want [][]byte
	for _, f := range samples() {
		want = append(want, f.Append(nil))
		b = f.AppendInBatch(b)
	}
	var f Frame
	if err := Decode(b, &f, nil); err != nil || f.Kind != Batch {
		t.Fatal(f.Kind, err)
	}
	rest := f.Payload
	for i := range want {
		var one []byte
		var err error
		if one, rest, err = NextInBatch(rest); err != nil || !bytes.Equal(one, want[i]) {
			t.Fatalf("frame %d: %x, %v", i, one, err)
		}
	}
	if len(rest) != 0 {
		t.Errorf("%d bytes are left", len(rest))
	}
}

func TestBadLengthsInABatchAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		in   []byte
		want error
	}{
		"cut length": {[]byte{3, 0, 0}, ErrShort},
		"zero":       {[]byte{0, 0, 0, 0, 1, 2, 3}, ErrValue},
		"too short":  {[]byte{2, 0, 0, 0, 1, 2, 3}, ErrValue},
		"past end":   {[]byte{4, 0, 0, 0, 1, 2, 3}, ErrShort},
		"huge":       {[]byte{255, 255, 255, 255, 1, 2, 3}, ErrShort},
	} {
		if _, _, err := NextInBatch(c.in); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func FuzzBatch(f *testing.F) {
	b := []byte{}
	for _, s := range samples() {
		b = s.AppendInBatch(b)
		f.Add(b)
	}
	f.Add([]byte{255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		for rest := b; len(rest) > 0; {
			one, more, err := NextInBatch(rest)
			if err != nil {
				if !errors.Is(err, ErrMalformed) {
					t.Fatalf("an error of no kind: %v", err)
				}
				return
			}
			if len(one)+len(more)+BatchEach != len(rest) {
				t.Fatalf("%d bytes became %d and %d", len(rest), len(one), len(more))
			}
			rest = more
		}
	})
}

// TestAFrameOfABatchEndsWithItself: who appends to one must not write into the next.
func TestAFrameOfABatchEndsWithItself(t *testing.T) {
	batch := AppendBatch(nil)
	for id := range uint64(2) {
		batch = (&Frame{Kind: Cancel, ID: id, From: "n1", FromNumber: 1}).AppendInBatch(batch)
	}
	frame, rest, err := NextInBatch(batch[BatchHead:])
	if err != nil {
		t.Fatal(err)
	}
	before := string(rest)
	_ = append(frame, "overwritten"...)
	if string(rest) != before {
		t.Fatal("appending to a frame changed the next one")
	}
}
