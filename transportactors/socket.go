package transportactors

import (
	"syscall"

	"github.com/loopmesh/loopmesh/internal/sock"
)

// Socket is the descriptor of a transport. The transport reads, writes and closes
// it; others may look at it and set options (socket_options.go). Every read(2)
// and write(2) of a stream socket and of a pipe is in this file. Loop goroutine.
type Socket struct {
	kind    fdKind
	before  func() // sends what an option must not change any more; nil: nothing waits for that
	number  int32  // Invariant: -1 exactly when the descriptor is closed
	gather  bool   // SetWriteGathering
	in, out uint64 // bytes
}

// FD is the descriptor's number, -1 once it is closed.
func (s *Socket) FD() int { return int(s.number) }

// read reads what is there, once.
func (s *Socket) read(p []byte) (int, error) {
	n, err := s.kind.read(s.FD(), p)
	if n > 0 {
		s.in += uint64(n)
	}
	return n, err
}

// wrote counts what the kernel took.
func (s *Socket) wrote(n int, err error) (int, error) {
	if n > 0 {
		s.out += uint64(n)
	}
	return n, err
}

// readFiles is read that takes the files which come with the bytes, too.
func (s *Socket) readFiles(p, control []byte) (int, []int, error) {
	n, fds, err := sock.ReadFiles(s.FD(), p, control)
	if n > 0 {
		s.in += uint64(n)
	}
	return n, fds, err
}

// write writes what the kernel takes at once.
func (s *Socket) write(p []byte) (int, error) { return s.wrote(s.kind.write(s.FD(), p)) }

// writev is write of several pieces with one call.
func (s *Socket) writev(pieces [][]byte) (int, error) {
	if len(pieces) == 1 {
		return s.write(pieces[0])
	}
	return s.wrote(sock.Writev(s.FD(), pieces))
}

// letGo closes the descriptor; a file around it stays open.
func (s *Socket) letGo() {
	fd := s.FD()
	s.number = -1
	s.kind.release(fd)
	_ = sock.Close(fd) // the kernel has the number back either way
}

// close is letGo, with the file.
func (s *Socket) close() {
	s.letGo()
	s.kind.closed()
}

// SyscallConn gives a function the descriptor, for an option that Socket does not
// have. Only Control works: the transport reads and writes. net.ErrClosed once
// it is closed.
func (s *Socket) SyscallConn() (syscall.RawConn, error) {
	if s.FD() < 0 {
		return nil, errSocketClosed
	}
	return rawSocket{s}, nil
}

var _ syscall.Conn = (*Socket)(nil)
