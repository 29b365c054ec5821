package actors

import (
	"errors"
	"testing"
)

func TestAddressesAreReadBack(t *testing.T) {
	for text, a := range map[string]Address{
		"/x":                       {Path: "x"},
		"node/loop/conn@7":         {Node: "node", Path: "loop/conn@7"},
		"node@12/a b":              {Node: "node", Incarnation: 12, Path: "a b"},
		"n@18446744073709551615/x": {Node: "n", Incarnation: 1<<64 - 1, Path: "x"},
	} {
		if a.String() != text {
			t.Errorf("%#v is written %q", a, a.String())
		}
		if got, err := Parse(text); got != a || err != nil {
			t.Errorf("%q: %#v, %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "x", "n/", "n@/x", "n@0/x", "n@01/x", "n@x/y", "n@1@2/x", "n//x", "n/x/", "n\x00/x", "n/\xff", "n@18446744073709551616/x"} {
		if a, err := Parse(bad); !errors.Is(err, ErrBadAddress) {
			t.Errorf("%q: %#v, %v", bad, a, err)
		}
	}
}

func FuzzAddress(f *testing.F) {
	for _, s := range []string{"/x", "n/x", "n@7/x/y", "@1/x", "n@0/x", "//", "é/ü"} {
		f.Add(s, s, uint64(len(s)))
	}
	f.Fuzz(func(t *testing.T, text, node string, life uint64) {
		if a, err := Parse(text); err == nil && a.String() != text {
			t.Fatalf("%q is read as %#v and written %q", text, a, a.String())
		}
		a := Address{Node: node, Incarnation: life, Path: text}
		if a.Validate() != nil {
			return
		}
		if got, err := Parse(a.String()); got != a || err != nil {
			t.Fatalf("%#v is read back as %#v, %v", a, got, err)
		}
	})
}

func FuzzRing(f *testing.F) {
	f.Add([]byte{1, 1, 1, 1, 1, 0, 0, 1, 0, 255, 0})
	f.Fuzz(func(t *testing.T, ops []byte) {
		var r ring[int]
		var model []int
		n := 0
		for _, op := range ops {
			for range int(op) {
				n++
				r.push(n)
				model = append(model, n)
			}
			for range int(op)/2 + 1 {
				v, ok := r.pop()
				if ok != (len(model) > 0) || ok && v != model[0] {
					t.Fatalf("got %d %v, want the head of %d", v, ok, len(model))
				}
				if ok {
					model = model[1:]
				}
			}
			if r.n != len(model) || len(r.buf) > ringKeep && r.n < len(r.buf)/4 {
				t.Fatalf("%d of %d slots for %d", r.n, len(r.buf), len(model))
			}
		}
	})
}
