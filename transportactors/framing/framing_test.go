package framing

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/loopmesh/loopmesh/internal/guard"
)

// collected is what a loop over packets gives.
func collected(packets iter.Seq2[[]byte, error]) (out []string, last error) {
	for p, err := range packets {
		if err != nil {
			last = err
			continue
		}
		out = append(out, string(p))
	}
	return out, last
}

func TestPackets(t *testing.T) {
	t.Run("packets are whole however the bytes come", func(t *testing.T) {
		text := "one\ntwo\n\nthree\r\nfour"
		want := []string{"one", "two", "", "three", "four"}
		for step := 1; step <= len(text); step++ {
			b := New(bufio.ScanLines, 10)
			var got []string
			for piece := range slices.Chunk([]byte(text), step) {
				more, err := collected(b.Packets(piece))
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, more...)
				clear(piece) // the caller's bytes are not kept
			}
			rest, err := collected(b.End())
			if got = append(got, rest...); err != nil || !slices.Equal(got, want) || b.Buffered() != 0 {
				t.Fatalf("in steps of %d: %q, %v", step, got, err)
			}
		}
	})
	t.Run("leaving the loop loses nothing", func(t *testing.T) {
		b := New(bufio.ScanLines, 10)
		var got []string
		input := []byte("a\nb\nc\nd")
		for range 5 {
			for p, err := range b.Packets(input) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, string(p))
				break
			}
			clear(input)
			input = nil
		}
		if strings.Join(got, " ") != "a b c" || b.Buffered() != 1 {
			t.Fatalf("%q, %d bytes wait", got, b.Buffered())
		}
	})
	t.Run("a packet without an end has a limit, and the error stays", func(t *testing.T) {
		b := New(bufio.ScanLines, 4)
		got, err := collected(b.Packets([]byte("ok\n12345")))
		if !slices.Equal(got, []string{"ok"}) || !errors.Is(err, ErrTooLong) || b.Buffered() != 0 {
			t.Fatalf("%q, %v, %d bytes kept", got, err, b.Buffered())
		}
		if got, err := collected(b.Packets([]byte("more\n"))); len(got) > 0 || !errors.Is(err, ErrTooLong) {
			t.Fatalf("afterwards %q, %v", got, err)
		}
	})
	t.Run("a packet above the limit is refused also when it comes whole", func(t *testing.T) {
		got, err := collected(New(bufio.ScanLines, 4).Packets([]byte("1234\n12345\n6\n")))
		if !slices.Equal(got, []string{"1234"}) || !errors.Is(err, ErrTooLong) {
			t.Fatalf("%q, %v", got, err)
		}
	})
	t.Run("whole packets may be longer than the limit together", func(t *testing.T) {
		b := New(bufio.ScanLines, 4)
		got, err := collected(b.Packets(bytes.Repeat([]byte("123\n"), 1000)))
		if len(got) != 1000 || err != nil {
			t.Fatalf("%d packets, %v", len(got), err)
		}
	})
	t.Run("an end inside a packet is seen", func(t *testing.T) {
		b := New(Prefix(2, 100), 102)
		got, err := collected(b.Packets([]byte{0, 3, 'a', 'b'}))
		more, eof := collected(b.End())
		if len(got)+len(more) > 0 || err != nil || eof != nil || b.Buffered() != 4 {
			t.Fatalf("%q %q, %v, %v, %d bytes", got, more, err, eof, b.Buffered())
		}
	})
	t.Run("a split function that misbehaves is an error, not a loop without end", func(t *testing.T) {
		for name, split := range map[string]bufio.SplitFunc{
			"consumes nothing":  func([]byte, bool) (int, []byte, error) { return 0, []byte{}, nil },
			"consumes too much": func(d []byte, _ bool) (int, []byte, error) { return len(d) + 1, d, nil },
			"goes back":         func(d []byte, _ bool) (int, []byte, error) { return -1, d, nil },
			"is none":           nil,
		} {
			if _, err := collected(New(split, 10).Packets([]byte("x"))); !errors.Is(err, ErrSplit) {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, size := range []int{0, 9} {
			if _, err := collected(New(Prefix(size, 1), 10).Packets([]byte("x"))); !errors.Is(err, ErrSplit) {
				t.Errorf("a length of %d bytes: %v", size, err)
			}
		}
	})
	t.Run("a caller that panics loses only the packet it had", func(t *testing.T) {
		b := New(bufio.ScanLines, 10)
		guard.Call(func() {
			for range b.Packets([]byte("a\nb\n")) {
				panic("planted")
			}
		})
		if got, err := collected(b.Packets(nil)); !slices.Equal(got, []string{"b"}) || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
	})
}

func TestPrefix(t *testing.T) {
	t.Run("lengths of every size", func(t *testing.T) {
		for size := 1; size <= 8; size++ {
			head := binary.BigEndian.AppendUint64(nil, 5)[8-size:]
			one := append(head, "hello"...)
			b := New(Prefix(size, 5), 5+size)
			var got []string
			for piece := range slices.Chunk(slices.Concat(one, one, one), 4) {
				more, err := collected(b.Packets(piece))
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, more...)
			}
			if !slices.Equal(got, []string{"hello", "hello", "hello"}) {
				t.Fatalf("size %d: %q", size, got)
			}
		}
	})
	t.Run("too much is refused before it comes", func(t *testing.T) {
		for _, head := range [][]byte{{0, 0, 0, 6}, {0xff, 0xff, 0xff, 0xff}} {
			b := New(Prefix(4, 5), 9)
			if _, err := collected(b.Packets(head)); !errors.Is(err, ErrTooLong) {
				t.Errorf("%v: %v", head, err)
			}
		}
		b := New(Prefix(8, 5), 9)
		if _, err := collected(b.Packets(bytes.Repeat([]byte{0xff}, 8))); !errors.Is(err, ErrTooLong) {
			t.Errorf("the largest length: %v", err)
		}
	})
}

func TestLines(t *testing.T) {
	t.Run("what is too long does not depend on how the bytes come", func(t *testing.T) {
		for text, want := range map[string][]string{
			"1234\n":                 {"1234"},
			"1234\r\n\r\n\n1\r2\r\n": {"1234", "", "", "1\r2"},
			"12\n12345\n1\n":         {"12", "error"},
			"12\n12345\r\n":          {"12", "error"},
			"12345":                  {"error"},
			"1234\r\r":               {"error"},
			"1\n1234":                {"1", "1234"},
			"1234\r":                 {"1234"},
			"\r\r\n":                 {"\r"},
		} {
			for step := 1; step <= len(text); step++ {
				b := New(Lines(4), 6)
				var got []string
				var err error
				for piece := range slices.Chunk([]byte(text), step) {
					more, failed := collected(b.Packets(piece))
					got, err = append(got, more...), failed
				}
				rest, failed := collected(b.End())
				got = append(got, rest...)
				if err != nil && !errors.Is(failed, ErrTooLong) {
					t.Fatalf("%q in steps of %d: %v, and at the end %v", text, step, err, failed)
				}
				if failed != nil {
					got = append(got, "error")
				}
				if !slices.Equal(got, want) || b.Buffered() != 0 {
					t.Fatalf("%q in steps of %d: %q, %v", text, step, got, failed)
				}
			}
		}
	})
}

// FuzzPackets compares pieces with the whole: the packets do not depend on how the
// bytes came.
func FuzzPackets(f *testing.F) {
	f.Add([]byte("a\nbc\n\nd"), uint8(1))
	f.Add([]byte{2, 'h', 'i', 0, 1, 'x', 9, 'y'}, uint8(3))
	f.Fuzz(func(t *testing.T, input []byte, step uint8) {
		for _, split := range []bufio.SplitFunc{bufio.ScanLines, Prefix(1, 100), Lines(5)} {
			whole, parts := New(split, len(input)), New(split, len(input))
			want, werr := collected(whole.Packets(input))
			var got []string
			var gerr error
			for piece := range slices.Chunk(input, int(step)+1) {
				more, err := collected(parts.Packets(piece))
				got = append(got, more...)
				gerr = err
			}
			if !slices.Equal(got, want) || (gerr == nil) != (werr == nil) || parts.Buffered() != whole.Buffered() {
				t.Fatalf("%q %v %d, in pieces %q %v %d", want, werr, whole.Buffered(), got, gerr, parts.Buffered())
			}
		}
	})
}

func ExampleBuffer() {
	lines := New(Lines(1<<10), 1<<10+2) // no line may be longer than 1 KiB
	received := func(data []byte) {     // as a protocol's DataReceived
		for line, err := range lines.Packets(data) {
			if err != nil {
				fmt.Println("closing:", err)
				return
			}
			fmt.Printf("%s\n", line)
		}
	}
	received([]byte("hel"))
	received([]byte("lo\nwor"))
	received([]byte("ld\n"))
	// Output:
	// hello
	// world
}

func ExamplePrefix() {
	packets := New(Prefix(2, 1<<10), 1<<10+2) // two bytes of length, at most 1 KiB
	for _, piece := range []string{"\x00\x05hel", "lo\x00\x02", "hi\xff\xff"} {
		for packet, err := range packets.Packets([]byte(piece)) {
			if err != nil {
				fmt.Println("closing:", err)
				return
			}
			fmt.Printf("%s\n", packet)
		}
	}
	// Output:
	// hello
	// hi
	// closing: packet too long: 65535 bytes are announced, the limit is 1024
}
