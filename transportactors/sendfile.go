package transportactors

import (
	"context"
	"errors"
	"fmt"

	"github.com/loopmesh/loopmesh/internal/sendfile"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors/internal/base"
)

// Sendfile sends count bytes of file (loopnode.ToEnd: all there are) from offset
// on behind what t has queued, and returns how many went, also beside an error.
// Afterwards the file's position is behind them; with none it stays.
//
// On a socket the kernel does it, at most 1 MiB in each turn; meanwhile Write,
// Writelines and WriteEOF are refused with ErrSendfile, reading is paused and
// then as it was, and Close does not wait for the file: it ends the sending. What
// the kernel cannot send, which shows before the first byte, and all that goes
// over TLS is read on goroutines of the loop in pieces of 16 KiB and written under
// t's flow control, of which the last ones may still be queued at the end;
// writes of others then come between the pieces.
//
// It waits: call it in a task of t's loop. Cancelling the task or ending ctx
// leaves a part sent and t usable, though hardly of use. Errors: ErrClosed (t is
// closing, or was lost on the way: with the kernel's reason), ErrSendfile (one
// at a time), ErrWriteEOF, loopnode.ErrSendfileNotAvailable,
// loopnode.ErrInvalidArgument (as loopnode.SockSendfile; pipes and transports of
// other packages), loopnode.ErrWrongLoop. asyncio: loop.sendfile.
func Sendfile(ctx context.Context, t Transport, file loopnode.File, offset, count int64, opts ...loopnode.SendfileOption) (int64, error) {
	if err := checkSendfile(ctx, t); err != nil {
		return 0, err
	}
	job, err := sendfile.New(file, offset, count)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", loopnode.ErrInvalidArgument, err)
	}
	err = sendfile.ErrNotAvailable
	if c, ok := t.(*conn); ok && job.Native() {
		err = c.sendfile(ctx, job)
	}
	if errors.Is(err, sendfile.ErrNotAvailable) {
		if sendfile.Without(opts) {
			err = fmt.Errorf("%w for %s: %w", loopnode.ErrSendfileNotAvailable, t, err)
		} else {
			err = copyFile(ctx, t.(fileTarget), job)
		}
	}
	return job.Sent(), errors.Join(err, job.Finish())
}

// checkSendfile tells whether t takes a file now, from a task of ctx.
func checkSendfile(ctx context.Context, t Transport) error {
	l, err := base.Home(ctx)
	if err != nil {
		return err
	}
	if t == nil {
		return invalid("Sendfile needs a transport, not nil")
	}
	if t.Loop() != l {
		return fmt.Errorf("%w: the transport lives on loop %s", loopnode.ErrWrongLoop, t.Loop().Name())
	}
	if err := checkNoFile(t); err != nil {
		return err
	}
	switch t := t.(type) {
	case *conn:
		switch {
		case !t.socket.kind.isSocket():
			return invalid("sendfile is not supported for %s: it is a pipe", t)
		case t.top != nil:
			return invalid("sendfile is not supported for %s: TLS runs over it; use its transport", t)
		}
		return t.writable("Sendfile")
	case *tlsTransport:
		if t.IsClosing() {
			return fmt.Errorf("%w: %s", ErrClosed, t)
		}
		return nil
	}
	return invalid("sendfile is not supported for a %T", t)
}
