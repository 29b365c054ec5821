package transportactors

import (
	"fmt"
	"os"
	"syscall"

	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/loopnode"
)

// FilesReceiver is a Protocol of a UNIX stream connection that takes open files
// from its peer. Without this method the kernel closes what a peer sends. asyncio
// leaves this to socket.recv_fds.
type FilesReceiver interface {
	// FilesReceived brings files just before the DataReceived that has the first
	// byte of the data they were sent with; earlier bytes may precede it there, as
	// always in a stream. They are the protocol's from its return on: it closes them. They
	// are closed for it when it panics. One call has at most 253.
	FilesReceived(files []*os.File)
}

// maxFiles is how many files one SendFiles takes (SCM_MAX_FD).
const maxFiles = 253

// SendFiles sends data, at least one byte, and with its first byte copies of
// files, which stay the caller's. It is for a UNIX stream connection without
// TLS; loop goroutine. What the kernel does not take of data is queued as by
// Write, but files do not wait: when output waits already or the kernel has no
// room, nothing is sent and the error is loopnode.ErrBusy; try again when
// WriteBufferSize is 0. Errors: ErrClosed, ErrWriteEOF, os.ErrClosed (a file is),
// loopnode.ErrInvalidArgument.
func SendFiles(t Transport, data []byte, files ...*os.File) error {
	c, ok := t.(*conn)
	if !ok || !c.carriesFiles() || c.top != nil {
		return invalid("files can be sent over a UNIX stream connection without TLS, not over %v", t)
	}
	switch {
	case len(data) == 0:
		return invalid("files need at least one byte to travel with")
	case len(files) > maxFiles:
		return invalid("%d files at once; the limit is %d", len(files), maxFiles)
	}
	if err := c.writable("SendFiles"); err != nil {
		return err
	}
	if c.queue.size > 0 {
		return fmt.Errorf("%w: %d bytes wait before the files", loopnode.ErrBusy, c.queue.size)
	}
	return withDescriptors(files, nil, func(fds []int) error { return c.sendFiles(data, fds) })
}

func (c *conn) sendFiles(data []byte, fds []int) error {
	n, err := c.socket.wrote(sock.WriteFiles(c.socket.FD(), data, fds))
	switch {
	case err == nil && n == len(data):
		return nil
	case err == nil:
		return c.Write(data[n:])
	case sock.WouldBlock(err):
		return fmt.Errorf("%w: the peer reads too slowly for files now", loopnode.ErrBusy)
	}
	c.sendFailed(err)
	return fmt.Errorf("%w: %w", ErrClosed, err)
}

// withDescriptors calls fn while none of the files can be closed.
func withDescriptors(files []*os.File, fds []int, fn func([]int) error) error {
	if len(files) == 0 {
		return fn(fds)
	}
	if files[0] == nil {
		return invalid("a file to send is nil")
	}
	raw, err := files[0].SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	err = raw.Control(func(fd uintptr) { inner = withDescriptors(files[1:], append(fds, int(fd)), fn) })
	if err != nil {
		return fmt.Errorf("sending file %s: %w", files[0].Name(), os.ErrClosed) // the one reason there is
	}
	return inner
}

// carriesFiles reports whether the connection can bring open files.
func (c *conn) carriesFiles() bool { return networkOf(c.local).ancillary }

// inputWithFiles reads once, and hands on the files that come with the bytes.
func (c *conn) inputWithFiles(buf []byte) (int, error) {
	if c.control == nil {
		c.control = make([]byte, sock.ControlSpace(maxFiles))
	}
	n, fds, err := c.socket.readFiles(buf, c.control)
	if len(fds) == 0 || err != nil {
		return n, err
	}
	files := make([]*os.File, len(fds))
	for i, fd := range fds {
		files[i] = os.NewFile(uintptr(fd), fmt.Sprintf("received-%d", fd))
	}
	taken := false
	defer func() { // also when the protocol leaves by Goexit
		for _, f := range files {
			if !taken {
				_ = f.Close()
			}
		}
	}()
	if taken = c.Call("FilesReceived", func() { c.proto.files().FilesReceived(files) }); !taken {
		return 0, syscall.EAGAIN // the connection ends: nothing more for the protocol
	}
	return n, nil
}
