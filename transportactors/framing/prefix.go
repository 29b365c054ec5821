package framing

import (
	"bufio"
	"fmt"
)

// Prefix splits packets that begin with their length: size bytes, 1 to 8, the
// highest first, which do not count themselves and are not part of the packet. A
// packet that announces more than most bytes is ErrTooLong at once, before any of
// it is kept. Give New a limit of at least most+size.
func Prefix(size, most int) bufio.SplitFunc {
	return func(data []byte, atEnd bool) (advance int, packet []byte, err error) {
		if size < 1 || size > 8 {
			return 0, nil, fmt.Errorf("%w: a length of %d bytes; it must be 1 to 8", ErrSplit, size)
		}
		if len(data) < size {
			return 0, nil, nil
		}
		var n uint64
		for _, b := range data[:size] {
			n = n<<8 | uint64(b)
		}
		if n > uint64(most) {
			return 0, nil, fmt.Errorf("%w: %d bytes are announced, the limit is %d", ErrTooLong, n, most)
		}
		end := size + int(n)
		if len(data) < end {
			return 0, nil, nil
		}
		return end, data[size:end:end], nil
	}
}
