package loopnode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"syscall"

	"github.com/loopmesh/loopmesh/internal/sendfile"
	"github.com/loopmesh/loopmesh/internal/sock"
)

// ToEnd is the count that means: up to the end of the file.
const ToEnd = math.MaxInt64

// ErrSendfileNotAvailable: the kernel cannot send this file to this socket, and
// the fallback was not wanted. asyncio.SendfileNotAvailableError.
var ErrSendfileNotAvailable = errors.New("sendfile is not available")

// File is what SockSendfile sends. For an *os.File of a regular file the kernel
// does it without a copy; anything else (bytes.Reader, io.SectionReader, a
// device) is read.
type File interface {
	io.ReaderAt
	io.Seeker
}

// SendfileOption changes how SockSendfile and transportactors.Sendfile work.
type SendfileOption = sendfile.Option

// WithoutFallback makes them fail with ErrSendfileNotAvailable where it
// would read and send. asyncio: fallback=False.
func WithoutFallback() SendfileOption { return sendfile.WithoutFallback }

// SockSendfile sends count bytes of file (ToEnd: all there are) from offset on,
// whatever the file's position, to a connected stream socket, and returns how
// many went, also beside an error. Afterwards the position is behind the last
// byte that went; with none it stays. It waits as SockRecv does, and gives the
// loop a turn after every piece of at most 1 MiB. Where the kernel cannot do it,
// which shows before the first byte, the file is read in pieces of 256 KiB on
// goroutines of the loop's own.
//
// The file is the caller's; nobody may change its position meanwhile. Errors
// besides SockRecv's: ErrInvalidArgument (an offset below 0, a count below 1, a
// directory or pipe, a socket that is no stream), ErrSendfileNotAvailable, the
// file's. asyncio: loop.sock_sendfile.
func SockSendfile(ctx context.Context, fd int, file File, offset, count int64, opts ...SendfileOption) (int64, error) {
	job, err := sendfile.New(file, offset, count)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrInvalidArgument, err)
	}
	return asTask(ctx, func(ctx context.Context) (int64, error) {
		op, err := holdStream(taskOf(ctx), fd)
		if err != nil {
			return 0, err
		}
		defer op.release()
		err = op.sendNative(ctx, job)
		if errors.Is(err, sendfile.ErrNotAvailable) {
			if sendfile.Without(opts) {
				err = fmt.Errorf("%w: %w", ErrSendfileNotAvailable, err)
			} else {
				err = op.sendRead(ctx, job)
			}
		}
		return job.Sent(), errors.Join(err, job.Finish())
	})
}

// holdStream reserves the writing side of a stream socket.
func holdStream(t *task, fd int) (*sockOp, error) {
	s := side{fd, true}
	if err := t.loop.usable(s); err != nil {
		return nil, err
	}
	kind, err := sock.Type(fd)
	switch {
	case err != nil:
		return nil, sockError("looking at", fd, err)
	case kind != syscall.SOCK_STREAM:
		return nil, invalid("descriptor %d: only stream sockets can be sent a file", fd)
	}
	return t.loop.hold(t, s), nil
}

// sendNative lets the kernel send, in each turn at most a piece.
func (o *sockOp) sendNative(ctx context.Context, job *sendfile.Job) error {
	for {
		done, err := job.Turn(o.fd)
		switch {
		case sock.WouldBlock(err):
			err = o.wait(ctx)
		case err != nil:
			return sockError("sending a file to", o.side.fd, err)
		case done:
			return nil
		default:
			err = o.pass(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// fallbackPiece is how much the fallback reads at once.
const fallbackPiece = 256 << 10

// sendRead reads on the executor and sends what was read.
func (o *sockOp) sendRead(ctx context.Context, job *sendfile.Job) error {
	buf := make([]byte, fallbackPiece)
	reads := o.loop.pools.reserve("sendfile")
	for !job.Done() {
		n, err := RunInExecutor(ctx, reads, func() (int, error) { return job.Read(buf) }).Await(ctx)
		if n == 0 || err != nil {
			return err
		}
		if err := o.sendPiece(ctx, buf[:n], job); err != nil {
			return err
		}
	}
	return nil
}

func (o *sockOp) sendPiece(ctx context.Context, p []byte, job *sendfile.Job) error {
	for len(p) > 0 {
		if o.gone {
			return o.taken()
		}
		n, err := sock.Write(o.fd, p)
		switch {
		case err == nil:
			job.Advance(n)
			p = p[n:]
			err = o.pass(ctx)
		case sock.WouldBlock(err):
			err = o.wait(ctx)
		default:
			return sockError("sending a file to", o.side.fd, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// pass gives the loop one turn.
func (o *sockOp) pass(ctx context.Context) error {
	err := o.keep()
	if err == nil {
		err = o.task.yield()
	}
	switch {
	case err != nil:
		return err
	case o.gone:
		return o.taken()
	case ownDone(ctx, o.task) && ctx.Err() != nil:
		return contextError(ctx)
	}
	return nil
}
