package framing

import (
	"bufio"
	"bytes"
	"fmt"
)

// Lines splits lines. A packet is a line without its end, which is "\n" or "\r\n".
// A line of more than most bytes is ErrTooLong, whether its end has come or not.
// The last line of the input needs no end. Give New a limit of at least most+2.
func Lines(most int) bufio.SplitFunc {
	return func(data []byte, atEnd bool) (advance int, line []byte, err error) {
		line, advance = data, len(data)
		end := bytes.IndexByte(data, '\n')
		if end >= 0 {
			line, advance = data[:end:end], end+1
		}
		// Why also without an end: a '\r' that came last may be half of it.
		line = bytes.TrimSuffix(line, []byte("\r"))
		switch {
		case len(line) > most:
			return 0, nil, fmt.Errorf("%w: a line of more than %d bytes", ErrTooLong, most)
		case end < 0 && (!atEnd || len(data) == 0):
			return 0, nil, nil
		}
		return advance, line, nil
	}
}
