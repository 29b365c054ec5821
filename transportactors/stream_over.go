package transportactors

import "context"

// StreamProtocol is the protocol under a Stream, for a transport that another
// call makes: a pipe, standard input, an accepted socket. Its zero value is ready.
//
//	_, p, err := ConnectReadPipe(ctx, func() *StreamProtocol { return &StreamProtocol{} }, os.Stdin)
//	lines := bufio.NewScanner(p.Stream(ctx))
//
// asyncio.StreamReaderProtocol.
type StreamProtocol struct {
	// Limit is what WithLimit says: how many unread bytes the Stream holds before
	// it stops reading; 0 is 64 KiB. Set it before the transport is made.
	Limit int
	streamProtocol
}

// ConnectionMade is called by the transport.
func (p *StreamProtocol) ConnectionMade(t Transport) {
	if p.limit = p.Limit; p.limit <= 0 {
		p.limit = defaultStreamLimit
	}
	p.streamProtocol.ConnectionMade(t)
}

// defaultStreamLimit is asyncio's.
const defaultStreamLimit = 64 << 10

// Stream is the stream for the task of ctx, from ConnectionMade on.
func (p *StreamProtocol) Stream(ctx context.Context) *Stream {
	return p.bind(ctx)
}
