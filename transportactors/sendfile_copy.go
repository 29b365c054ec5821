package transportactors

import (
	"context"
	"fmt"

	"github.com/loopmesh/loopmesh/internal/loopaccess"
	"github.com/loopmesh/loopmesh/internal/sendfile"
	"github.com/loopmesh/loopmesh/loopnode"
)

// fileTarget is a transport that a file can be written to.
type fileTarget interface {
	Transport
	// writingPaused reports whether the protocol is told not to write.
	writingPaused() bool
	// Call runs one method of the protocol; a panic ends the connection.
	Call(method string, fn func()) bool
}

func (f *flow) writingPaused() bool { return f.paused }

// fileWriter takes the place of a transport's protocol while a file is written to it, so
// that flow control and the loss come to the one who writes. Owned by the loop
// goroutine.
type fileWriter struct {
	t      fileTarget
	user   receiver // whose place it takes
	paused bool     // what the user's protocol was told last
	room   *loopnode.Future[error]
	lost   error // why nothing can be written any more
}

// filePiece is how much is read and written at once.
const filePiece = 16 << 10

// checkNoFile answers ErrSendfile while a fileWriter has the protocol's place: a second one
// would take the first for the user's protocol, and TLS would get plain pieces.
func checkNoFile(t Transport) error {
	if _, fed := t.Protocol().(*fileWriter); fed {
		return fmt.Errorf("%w: %v", ErrSendfile, t)
	}
	return nil
}

// copyFile reads what job says on an executor and writes it to t.
func copyFile(ctx context.Context, t fileTarget, job *sendfile.Job) error {
	f := &fileWriter{t: t, user: receiverOf(t.Protocol()), paused: t.writingPaused()}
	reading := t.IsReading()
	if err := t.PauseReading(); err != nil {
		return err
	}
	t.SetProtocol(f)
	defer f.restore(reading)
	buf := make([]byte, filePiece)
	reads, _ := loopaccess.Of(t.Loop()).ReservedExecutor("sendfile").(loopnode.Executor)
	for !job.Done() {
		if err := f.wait(ctx); err != nil {
			return err
		}
		n, err := loopnode.RunInExecutor(ctx, reads, func() (int, error) { return job.Read(buf) }).Await(ctx)
		if n == 0 || err != nil {
			return err
		}
		if err := t.Write(buf[:n]); err != nil {
			return err
		}
		job.Advance(n)
	}
	return f.lost
}

// wait waits until the transport takes more.
func (f *fileWriter) wait(ctx context.Context) error {
	for f.lost == nil && f.t.writingPaused() {
		f.room = loopnode.NewFuture[error](f.t.Loop())
		if _, err := f.room.Await(ctx); err != nil {
			return err
		}
	}
	return f.lost
}

func (f *fileWriter) wake() {
	if f.room != nil && !f.room.Done() {
		_ = f.room.SetResult(nil)
	}
}

// PauseWriting needs no answer: wait looks.
func (f *fileWriter) PauseWriting() {}

// ResumeWriting lets the next piece go.
func (f *fileWriter) ResumeWriting() { f.wake() }

// ConnectionLost ends the file and tells the user's protocol.
func (f *fileWriter) ConnectionLost(reason error) {
	f.lost = fmt.Errorf("%w while a file was sent", ErrClosed)
	if reason != nil {
		f.lost = fmt.Errorf("%w: %w", f.lost, reason)
	}
	f.wake()
	if f.user.lost() != nil {
		f.user.lost().ConnectionLost(reason)
	}
}

// restore gives the transport its protocol back, which then hears what it
// missed.
func (f *fileWriter) restore(reading bool) {
	if f.lost != nil || f.t.Protocol() != any(f) {
		return // nobody is told any more, or somebody else is by now
	}
	f.t.SetProtocol(f.user.value)
	if reading {
		_ = f.t.ResumeReading() // what a closing transport says does not matter
	}
	switch {
	case f.user.pauser() == nil || f.paused == f.t.writingPaused():
	case f.paused:
		f.t.Call("ResumeWriting", f.user.pauser().ResumeWriting)
	default:
		f.t.Call("PauseWriting", f.user.pauser().PauseWriting)
	}
}
