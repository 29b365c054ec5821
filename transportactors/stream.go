package transportactors

import (
	"context"
	"fmt"
	"io"

	"github.com/loopmesh/loopmesh/loopnode"
)

// Stream is a connection for code that waits: an io.ReadWriteCloser bound to
// the task it was made for, so that bufio, encoding/json and net/http's readers
// work on it. Its methods wait by suspending that task, and end early when the task
// is cancelled. A call of another task is loopnode.ErrWrongGoroutine: With gives
// that one a stream of its own, so that one task reads and another one writes. Now
// and then a call that need not wait lets one turn of the loop pass, so that a quick
// peer does not keep the loop for itself. asyncio: StreamReader and StreamWriter in
// one.
type Stream struct {
	ctx context.Context
	p   *streamProtocol
	*streamState
}

// OpenConnection is CreateConnection for a Stream of the calling task; same
// options (and WithLimit) and errors. asyncio.open_connection.
func OpenConnection(ctx context.Context, network, address string, opts ...ConnectOption) (*Stream, error) {
	o, err := collect(opts)
	if err != nil {
		return nil, err
	}
	_, p, err := CreateConnection(ctx, func() *streamProtocol { return newStreamProtocol(o.limit, nil) }, network, address, forStream(opts)...)
	if err != nil {
		return nil, err
	}
	return p.bind(ctx), nil
}

// StartServer is CreateServer with a task for each connection, which runs
// handle. When handle returns, the connection closes behind what is queued; an
// error or a panic of handle aborts it and is told to the loop's exception
// handler, except loopnode.ErrCancelled. asyncio.start_server.
func StartServer(ctx context.Context, handle func(ctx context.Context, s *Stream) error, network, address string, opts ...ServerOption) (*Server, error) {
	if handle == nil {
		return nil, invalid("StartServer needs a handler, not nil")
	}
	o, err := collect(opts)
	if err != nil {
		return nil, err
	}
	return CreateServer(ctx, func() Protocol {
		return newStreamProtocol(o.limit, func(p *streamProtocol) {
			// Why: connections outlive the task that starts the server.
			p.run(p.loop.Context(context.WithoutCancel(ctx)), handle)
		})
	}, network, address, forStream(opts)...)
}

// With is the same stream for the task of ctx, which may be another task, or the
// same one with a ctx that ends earlier.
func (s *Stream) With(ctx context.Context) *Stream { return s.p.bind(ctx) }

// Transport is the transport under the stream.
func (s *Stream) Transport() Transport { return s.t }

// Read waits for at least one byte. io.EOF at the end of the input and after
// Close; otherwise the reason of the loss, or what ended the wait.
// loopnode.ErrBusy while another task reads.
func (s *Stream) Read(p []byte) (int, error) {
	if err := s.beginRead(); err != nil {
		return 0, err
	}
	if len(p) > 0 && len(s.unread) == 0 {
		if err := s.waitUnread(0); err != nil {
			return 0, err
		}
	}
	n := s.take(p)
	s.spent.add(n)
	return n, nil
}

// beginRead is begin for a call that reads: one task at a time does.
func (s *Stream) beginRead() error {
	if err := s.begin(); err != nil {
		return err
	}
	if s.reader != nil {
		return fmt.Errorf("%w: another task reads from this stream", loopnode.ErrBusy)
	}
	return nil
}

// waitUnread waits until more than seen bytes are unread.
func (s *Stream) waitUnread(seen int) error {
	for len(s.unread) <= seen {
		if err := s.inputError(); err != nil {
			return err
		}
		s.reader = loopnode.NewFuture[struct{}](s.loop)
		_, err := s.reader.Await(s.ctx)
		s.reader, s.spent = nil, spent{}
		if err != nil {
			return err
		}
	}
	return nil
}

// Write writes all of p, then waits while the peer is slow. After an error the
// bytes may be sent in part. Errors: ErrClosed, ErrWriteEOF, the reason of the
// loss, what ended the wait.
func (s *Stream) Write(p []byte) (int, error) {
	if err := s.begin(); err != nil {
		return 0, err
	}
	s.spent.add(len(p))
	if err := s.t.Write(p); err != nil {
		if s.reason != nil {
			return 0, s.reason
		}
		return 0, err
	}
	return len(p), s.Drain()
}

// Drain waits until the peer has taken enough for more to be written.
func (s *Stream) Drain() error {
	if err := s.ownTask(); err != nil {
		return err
	}
	for s.paused && !s.lost {
		s.spent = spent{}
		if err := s.drainers.Wait(s.ctx, s.loop); err != nil {
			return err
		}
	}
	switch {
	case s.reason != nil:
		return s.reason
	case s.lost:
		return ErrClosed
	}
	return nil
}

// CloseWrite ends the output behind what is queued; reading goes on.
func (s *Stream) CloseWrite() error { return s.t.WriteEOF() }

// Close closes the connection behind what is queued and does not wait; it
// always returns nil. WaitClosed waits.
func (s *Stream) Close() error {
	if s.t == nil { // never attached
		return nil
	}
	s.t.Close()
	s.wakeReader()
	return nil
}

// WaitClosed waits until the connection has ended and returns why: nil after
// Close. It does not close.
func (s *Stream) WaitClosed() error {
	if err := s.ownTask(); err != nil {
		return err
	}
	for !s.lost {
		if err := s.enders.Wait(s.ctx, s.loop); err != nil {
			return err
		}
	}
	return s.reason
}

var _ io.ReadWriteCloser = (*Stream)(nil)
