package transportactors

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// ErrLimitOverrun: a separator did not come within the limit of a Stream. Nothing
// is lost: what came can still be read. asyncio.LimitOverrunError.
var ErrLimitOverrun = errors.New("no separator within the limit of the stream")

// ReadUntil waits for one of the separators and returns everything up to its end;
// of several that could end it, the one that ends first. The bytes are the
// caller's. More than the stream's limit (WithLimit) without a separator is
// ErrLimitOverrun, and the bytes stay for another call. At the end of the input
// without a separator it returns what is left with io.ErrUnexpectedEOF, and io.EOF
// when nothing is. Other errors as Read, and then the bytes stay, too.
// loopnode.ErrInvalidArgument for no separator, an empty one, or one longer than the
// limit.
// asyncio: StreamReader.readuntil.
func (s *Stream) ReadUntil(separators ...[]byte) ([]byte, error) {
	longest, err := s.longestOf(separators)
	if err != nil {
		return nil, err
	}
	if err := s.beginRead(); err != nil {
		return nil, err
	}
	from := 0 // no separator begins before it
	for {
		if end := firstEnd(s.unread, from, separators); end > 0 && end <= s.limit+longest {
			return s.takeAll(end), nil
		}
		seen := len(s.unread)
		if seen >= s.limit+longest {
			return nil, fmt.Errorf("%w: %d bytes came, the limit is %d (WithLimit)", ErrLimitOverrun, seen, s.limit)
		}
		from = max(0, seen-longest+1)
		err := s.waitUnread(seen)
		switch {
		case err == nil:
		case err == io.EOF && seen > 0:
			return s.takeAll(seen), io.ErrUnexpectedEOF
		default:
			return nil, err
		}
	}
}

// longestOf checks separators. Why the limit bounds them: reading is paused when twice
// the limit is unread, so a longer one could never come whole.
func (s *Stream) longestOf(separators [][]byte) (longest int, err error) {
	for _, sep := range separators {
		if len(sep) == 0 || len(sep) > s.limit {
			return 0, invalid("a separator must have 1 to %d bytes (WithLimit), not %d", s.limit, len(sep))
		}
		longest = max(longest, len(sep))
	}
	if longest == 0 {
		return 0, invalid("ReadUntil needs a separator")
	}
	return longest, nil
}

// ReadLine waits for a line and returns it with its line feed; the last line of the
// input may have none. Then comes io.EOF. Other errors as ReadUntil.
// asyncio: StreamReader.readline.
func (s *Stream) ReadLine() ([]byte, error) {
	line, err := s.ReadUntil(lineFeed)
	if err == io.ErrUnexpectedEOF {
		err = nil
	}
	return line, err
}

var lineFeed = []byte("\n")

// firstEnd is where the separator ends that ends first in b; 0 when there is none.
// None begins before from.
func firstEnd(b []byte, from int, separators [][]byte) (end int) {
	for _, sep := range separators {
		if at := bytes.Index(b[from:], sep); at >= 0 && (end == 0 || from+at+len(sep) < end) {
			end = from + at + len(sep)
		}
	}
	return end
}

// takeAll takes n unread bytes as the caller's own.
func (s *Stream) takeAll(n int) []byte {
	out := make([]byte, n)
	s.spent.add(s.take(out))
	return out
}
