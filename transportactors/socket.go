package transportactors

import (
	"os"
	"syscall"

	"github.com/loopmesh/loopmesh/internal/sock"
)

// Socket is the descriptor of a transport. The transport reads, writes and closes
// it; others may look at it and set options (socket_options.go). Every read(2)
// and write(2) of a stream socket and of a pipe is in this file. Loop goroutine.
type Socket struct {
	fd     int       // Invariant: -1 exactly when the descriptor is closed
	pipe   *pipeFile // nil: a socket
	before func()    // sends what an option must not change any more; nil: nothing waits for that
	gather bool      // SetWriteGathering
}

// pipeFile is what a pipe has more than a socket: one direction, and a file to
// close with the descriptor.
type pipeFile struct {
	file     *os.File // nil: the descriptor is all there is
	number   int      // of file
	standard bool     // number is one of 0, 1 and 2 and is not to be closed
	restore  bool     // the non-blocking flag was set for other processes, too
	writes   bool
	blind    bool // writes: the reader cannot be watched any more
	shape    sock.Shape
}

// FD is the descriptor's number, -1 once it is closed.
func (s *Socket) FD() int { return s.fd }

// read reads what is there, once.
func (s *Socket) read(p []byte) (int, error) {
	if s.pipe != nil {
		return sock.Read(s.fd, p)
	}
	return sock.ReadStream(s.fd, p)
}

// readFiles is read that takes the files which come with the bytes, too.
func (s *Socket) readFiles(p, control []byte) (int, []int, error) {
	return sock.ReadFiles(s.fd, p, control)
}

// write writes what the kernel takes at once.
func (s *Socket) write(p []byte) (int, error) {
	if s.pipe != nil {
		return sock.Write(s.fd, p)
	}
	return sock.WriteStream(s.fd, p)
}

// writev is write of several pieces with one call.
func (s *Socket) writev(pieces [][]byte) (int, error) {
	if len(pieces) == 1 {
		return s.write(pieces[0])
	}
	return sock.Writev(s.fd, pieces)
}

// letGo closes the descriptor; a file around it stays open.
func (s *Socket) letGo() {
	fd := s.fd
	s.fd = -1
	if s.pipe != nil && s.pipe.restore {
		sock.SetBlocking(fd)
	}
	_ = sock.Close(fd) // the kernel has the number back either way
}

// close is letGo, with the file.
func (s *Socket) close() {
	s.letGo()
	switch {
	case s.pipe == nil || s.pipe.file == nil:
	case s.pipe.standard:
		_ = sock.Blank(s.pipe.number) // without a null device the standard file stays open
	default:
		_ = s.pipe.file.Close() // what it wrote was written by the transport
	}
}

// SyscallConn gives a function the descriptor, for an option that Socket does not
// have. Only Control works: the transport reads and writes. net.ErrClosed once
// it is closed.
func (s *Socket) SyscallConn() (syscall.RawConn, error) {
	if s.fd < 0 {
		return nil, errSocketClosed
	}
	return rawSocket{s}, nil
}

var _ syscall.Conn = (*Socket)(nil)
