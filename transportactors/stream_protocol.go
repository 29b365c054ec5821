package transportactors

import (
	"context"
	"errors"
	"io"

	"github.com/loopmesh/loopmesh/internal/loopaccess"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/loopnode/report"
	"github.com/loopmesh/loopmesh/transportactors/internal/base"
)

// streamProtocol is the protocol under a Stream: it fills the stream's state and
// wakes who waits. Owned by the loop goroutine.
type streamProtocol struct {
	handle func(*streamProtocol) // server side: starts the task
	streamState
}

// streamState is what a Stream has not read and who waits for it. Why apart from the
// protocol: the methods of the protocol are for the transport, and a Stream that
// embedded it would have them as well. Owned by the loop goroutine.
type streamState struct {
	loop  *loopnode.Loop
	t     Transport
	limit int

	unread  []byte
	stopped bool // reading is paused because unread is above twice the limit
	eof     bool
	paused  bool
	lost    bool
	reason  error

	spent    spent // since the task last waited
	reader   *loopnode.Future[struct{}]
	drainers base.Waiters
	enders   base.Waiters
}

func newStreamProtocol(limit int, handle func(*streamProtocol)) *streamProtocol {
	return &streamProtocol{handle: handle, streamState: streamState{limit: limit}}
}

// bind is the stream for the task of ctx.
func (p *streamProtocol) bind(ctx context.Context) *Stream { return &Stream{ctx, p, &p.streamState} }

// ConnectionMade starts the task of a server's connection.
func (p *streamProtocol) ConnectionMade(t Transport) {
	p.t, p.loop = t, t.Loop()
	if p.handle != nil {
		p.handle(p)
	}
}

// DataReceived keeps a copy.
func (p *streamProtocol) DataReceived(b []byte) {
	p.unread = append(p.unread, b...)
	if len(p.unread)-p.limit > p.limit && !p.stopped {
		p.stopped = true
		_ = p.t.PauseReading()
	}
	p.wakeReader()
}

// EOFReceived keeps the connection where it can: the task may still write.
func (p *streamProtocol) EOFReceived() bool {
	p.eof = true
	p.wakeReader()
	return p.t.CanWriteEOF()
}

// PauseWriting makes Write wait.
func (p *streamProtocol) PauseWriting() { p.paused = true }

// ResumeWriting wakes who waits in Write.
func (p *streamProtocol) ResumeWriting() {
	p.paused = false
	p.drainers.Wake()
}

// ConnectionLost wakes everybody.
func (p *streamProtocol) ConnectionLost(reason error) {
	p.lost, p.reason = true, reason
	p.wakeReader()
	p.drainers.Wake()
	p.enders.Wake()
}

func (p *streamState) wakeReader() {
	if p.reader != nil && !p.reader.Done() {
		_ = p.reader.SetResult(struct{}{})
	}
}

// inputError is what Read returns when nothing is left to read, nil when more
// may come.
func (p *streamState) inputError() error {
	switch {
	case p.reason != nil:
		return p.reason
	case p.eof, p.lost, p.t.IsClosing() && !inputWaits(p.t):
		return io.EOF
	}
	return nil
}

// take hands out unread bytes and lets reading go on once few are left.
func (p *streamState) take(to []byte) int {
	n := copy(to, p.unread)
	p.unread = p.unread[n:]
	if len(p.unread) == 0 {
		p.unread = nil
	}
	if p.stopped && len(p.unread) <= p.limit {
		p.stopped = false
		_ = p.t.ResumeReading()
	}
	return n
}

// run runs handle in a task and ends the connection with it.
func (p *streamProtocol) run(ctx context.Context, handle func(context.Context, *Stream) error) {
	task := loopnode.CreateTask(ctx, "", func(ctx context.Context) (struct{}, error) {
		return struct{}{}, handle(ctx, p.bind(ctx))
	})
	loopaccess.ShowTaskAs(task.Context(), handle)
	task.AddDoneCallback(func(f *loopnode.Future[struct{}]) {
		err := f.Exception()
		if err == nil || errors.Is(err, loopnode.ErrCancelled) {
			p.t.Close()
			return
		}
		p.t.Abort()
		p.loop.CallExceptionHandler(loopnode.ExceptionContext{
			Kind: report.Protocol, Message: "Unhandled error in a stream's handler", Exception: err, Transport: p.t, Task: task.Name(),
		})
	})
}
