package transportactors

import (
	"context"
	"fmt"
	"os"

	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors/internal/base"
)

// ConnectReadPipe makes a transport that reads from file: a pipe, a FIFO, a
// socket, a terminal or another character device that can be polled, os.Stdin
// among them. A regular file or a directory is loopnode.ErrInvalidArgument: it
// is always ready, so read it in an executor. The protocol gets DataReceived,
// EOFReceived at the end of the input (its answer does not matter: a pipe cannot
// stay half open) and ConnectionLost; a terminal that hangs up ends with EIO.
//
// From here on the transport owns file and closes it with its own end; do not
// read it or call its Fd meanwhile. One of the standard numbers 0, 1 and 2 is
// not closed but becomes the null device, so that no other file gets the number.
// The transport works on a descriptor of its own. Where the system allows it
// (pipes, FIFOs, terminals) that has its own non-blocking flag, too, so that a
// terminal stays as it is for whoever shares it; elsewhere the flag is given
// back at the end. After an error file is still the caller's, except when the
// wait was cancelled or ConnectionMade panicked: then it is closed.
//
// It returns after ConnectionMade ran; call it in a task. Errors:
// loopnode.ErrInvalidArgument, loopnode.ErrNoRunningLoop, what the kernel says,
// the *loopnode.Panic of factory. asyncio: loop.connect_read_pipe.
func ConnectReadPipe[P Protocol](ctx context.Context, factory func() P, file *os.File) (Transport, P, error) {
	return connectPipe(ctx, factory, file, false)
}

// ConnectWritePipe is ConnectReadPipe for writing. The transport notices that
// nobody reads any more, also when it has nothing to write: the reason of
// ConnectionLost is nil when everything was taken, EPIPE when bytes were left.
// WriteEOF is Close. asyncio: loop.connect_write_pipe.
func ConnectWritePipe[P Protocol](ctx context.Context, factory func() P, file *os.File) (Transport, P, error) {
	return connectPipe(ctx, factory, file, true)
}

func connectPipe[P Protocol](ctx context.Context, factory func() P, file *os.File, writes bool) (Transport, P, error) {
	var p P
	if factory == nil || file == nil {
		return nil, p, invalid("connecting a pipe needs a factory and a file, not nil")
	}
	l, err := base.Home(ctx)
	if err != nil {
		return nil, p, err
	}
	s, err := pipeOf(file, writes)
	if err != nil {
		return nil, p, err
	}
	if p, err = base.FromFactory(factory, s.letGo); err != nil {
		s.letGo()
		return nil, p, err
	}
	c, err := newPipe(l, s, p)
	if err != nil {
		return nil, p, fmt.Errorf("%s: %w", file.Name(), err)
	}
	c.SetContext(l, ctx)
	t, err := c.announced(ctx)
	return t, p, err
}

// pipeOf looks at file and makes the descriptor that the transport works on.
// Nothing has changed when it fails.
func pipeOf(file *os.File, writes bool) (*Socket, error) {
	raw, err := file.SyscallConn() // Why: Fd would set the file to blocking
	if err != nil {
		return nil, invalid("%s: %v", file.Name(), err)
	}
	p := pipeFile{file: file}
	own := -1
	if fault := raw.Control(func(fd uintptr) { own, err = p.duplicate(int(fd), writes) }); fault != nil {
		return nil, invalid("%s: %v", file.Name(), fault)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file.Name(), err)
	}
	return p.socket(own, writes), nil
}

// socket is the descriptor fd as one end of p.
func (p pipeFile) socket(fd int, writes bool) *Socket {
	if writes {
		return &Socket{kind: &pipeOutput{pipeFile: p}, number: int32(fd)}
	}
	return &Socket{kind: &pipeInput{p}, number: int32(fd)}
}

// duplicate makes a descriptor of our own for what fd leads to.
func (p *pipeFile) duplicate(fd int, writes bool) (own int, err error) {
	p.shape, err = sock.Look(fd)
	switch {
	case err != nil:
		return -1, err
	case p.shape.Kind == sock.Other:
		return -1, invalid("it is a file or a directory, which is always ready; a pipe, socket or character device was expected: read and write files with RunInExecutor")
	case writes && !p.shape.Writes:
		return -1, invalid("it is open for reading only")
	case !writes && !p.shape.Reads:
		return -1, invalid("it is open for writing only")
	}
	p.number, p.standard = fd, fd <= 2
	own, p.restore, err = sock.Own(fd)
	return own, err
}

// newPipe makes the transport of one direction of s, which it owns from here on.
func newPipe(l *loopnode.Loop, s *Socket, p any) (*conn, error) {
	c := &conn{endpoint: endpoint{loop: l, socket: *s, proto: receiverOf(p)}, flow: newFlow(), reading: true}
	c.self, c.Calls = c, base.CallsOf(c)
	_, c.eof = s.kind.(*pipeOutput) // nothing is read then: IsReading is false for good
	if err := c.open(c.socket.kind.onReadable(c), c.onWritable); err != nil {
		return nil, err
	}
	return c, nil
}

// openPipe is base.OpenPipe.
func openPipe(l *loopnode.Loop, ctx context.Context, fd int, writes bool, p any) (base.Pipe, error) {
	file := pipeFile{shape: sock.Shape{Kind: sock.Fifo, Reads: !writes, Writes: writes}}
	c, err := newPipe(l, file.socket(fd, writes), p)
	if err != nil {
		return nil, err
	}
	c.SetContext(l, ctx)
	c.told = true // p has no ConnectionMade: its end is told in any case
	return c, nil
}

// Listen is base.Pipe's.
func (c *conn) Listen() { c.updateWatch() }

var _ = func() bool { base.OpenPipe = openPipe; return true }()
