// Package framing cuts the bytes of a stream into packets, for protocols that are
// called with whatever one read brings: half a packet, or three and a half.
//
// A Buffer keeps what is not a whole packet yet. Lines splits lines, Prefix splits
// packets that begin with their length, and every other bufio.SplitFunc works, too.
// What a Buffer keeps and the length of a packet are bounded, because the peer
// decides how much comes before a packet ends.
//
// It needs nothing from a loop or a transport. Owned by whoever calls it: one
// goroutine at a time.
package framing

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"iter"
)

// ErrTooLong: a packet is longer than the limit of its Buffer, whether its end has
// come or not.
var ErrTooLong = errors.New("packet too long")

// ErrSplit: a split function does not keep the contract of bufio.SplitFunc.
var ErrSplit = errors.New("split function misbehaves")

// Buffer cuts a stream into packets. Make it with New.
//
// Invariant: rest begins with the first byte that the split function has not
// consumed, and is a copy: the caller's bytes are never kept.
type Buffer struct {
	split bufio.SplitFunc
	limit int
	rest  []byte
	err   error // what ended the stream; it is repeated
}

// New makes a Buffer that keeps at most limit bytes of a packet whose end has not
// come, and gives no packet of more than limit bytes. split decides where packets end,
// as in bufio.Scanner: an advance of 0 without a token waits for more input, an advance
// without a token drops bytes. A split function that has state of its own may take a
// long packet in parts that way, so that no byte is looked at twice. Without a split
// function every input is ErrSplit.
func New(split bufio.SplitFunc, limit int) *Buffer {
	return &Buffer{split: split, limit: limit}
}

// Packets adds data and gives one whole packet after the other. A packet is lent
// until the next one: copy what is kept. Leaving the loop early loses nothing: what
// was not given stays, and Packets(nil) goes on with it. While a protocol leaves
// packets behind it should pause reading, because whole packets do not count
// against the limit.
//
// An error comes last and once for each call, and every later call repeats it:
// ErrTooLong, ErrSplit, or an error of the split function.
func (b *Buffer) Packets(data []byte) iter.Seq2[[]byte, error] {
	return b.cut(data, false)
}

// End is Packets at the end of the input: the split function may take the rest as a
// last packet. If bytes are left over and there is no error, the stream ended
// inside a packet: see Buffered.
func (b *Buffer) End() iter.Seq2[[]byte, error] { return b.cut(nil, true) }

// Buffered is how many bytes wait for the rest of their packet, or for the caller.
func (b *Buffer) Buffered() int { return len(b.rest) }

func (b *Buffer) cut(data []byte, atEnd bool) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		if b.err == nil {
			b.err = b.give(data, atEnd, yield)
		}
		if b.err == errLeft {
			b.err = nil
			return
		}
		if b.err != nil {
			b.rest = nil
			yield(nil, b.err)
		}
	}
}

// errLeft: the caller left the loop.
var errLeft = errors.New("left")

// give cuts data, behind the rest if there is one, and keeps what is left.
func (b *Buffer) give(data []byte, atEnd bool, yield func([]byte, error) bool) error {
	if b.split == nil {
		return fmt.Errorf("%w: there is none, New was given nil", ErrSplit)
	}
	input, copied := data, false
	if len(b.rest) > 0 {
		b.rest = append(b.rest, data...)
		input, copied = b.rest, true
	}
	defer func() { b.keep(input, copied) }() // also when the caller panics
	for len(input) > 0 || atEnd {
		advance, packet, err := b.split(input, atEnd)
		switch {
		case advance < 0 || advance > len(input):
			return fmt.Errorf("%w: it consumes %d of %d bytes", ErrSplit, advance, len(input))
		case advance == 0 && packet != nil && err == nil && len(input) > 0:
			return fmt.Errorf("%w: it gives a packet and consumes nothing", ErrSplit)
		case advance == 0 && packet == nil && err == nil && len(input) > b.limit:
			return fmt.Errorf("%w: no end in %d bytes, the limit is %d", ErrTooLong, len(input), b.limit)
		case advance == 0 && packet == nil && err == nil:
			return nil
		case len(packet) > b.limit:
			return fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLong, len(packet), b.limit)
		}
		input = input[advance:]
		if packet != nil && !yield(packet, nil) {
			if err == nil {
				err = errLeft
			}
			return err
		}
		if err != nil {
			return err
		}
		if len(input) == 0 {
			return nil
		}
	}
	return nil
}

// keep makes input the rest; copied says that it is part of the old one.
func (b *Buffer) keep(input []byte, copied bool) {
	switch {
	case len(input) == 0:
		b.rest = nil
	case copied:
		b.rest = input
	default:
		b.rest = bytes.Clone(input)
	}
}
