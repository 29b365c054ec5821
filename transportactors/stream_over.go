package transportactors

import "context"

// StreamProtocol is the protocol under a Stream, for a transport that another
// call makes: a pipe, standard input, an accepted socket.
//
//	_, p, err := ConnectReadPipe(ctx, func() *StreamProtocol { return NewStreamProtocol(0) }, os.Stdin)
//	lines := bufio.NewScanner(p.Stream(ctx))
//
// asyncio.StreamReaderProtocol.
type StreamProtocol struct{ streamProtocol }

// NewStreamProtocol makes one whose Stream holds limit unread bytes before it
// stops reading, as WithLimit says; 0 is 64 KiB.
func NewStreamProtocol(limit int) *StreamProtocol {
	if limit <= 0 {
		limit = defaultStreamLimit
	}
	return &StreamProtocol{streamProtocol{limit: limit}}
}

// defaultStreamLimit is asyncio's.
const defaultStreamLimit = 64 << 10

// Stream is the stream for the task of ctx, from ConnectionMade on.
func (p *StreamProtocol) Stream(ctx context.Context) *Stream {
	return &Stream{ctx, &p.streamProtocol}
}
