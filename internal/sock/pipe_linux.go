package sock

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Look tells what fd is and which ways it is open.
func Look(fd int) (Shape, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return Shape{}, os.NewSyscallError("fstat", err)
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return Shape{}, os.NewSyscallError("fcntl", err)
	}
	mode := flags & unix.O_ACCMODE
	s := Shape{
		Reads: mode != unix.O_WRONLY, Writes: mode != unix.O_RDONLY,
		Blocking: flags&unix.O_NONBLOCK == 0,
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFIFO:
		s.Kind = Fifo
	case unix.S_IFSOCK:
		s.Kind = Stream
	case unix.S_IFCHR:
		s.Kind = Device
	}
	return s, nil
}

// Own makes a non-blocking descriptor of the same pipe, terminal, device or
// socket, which the caller closes. restore: the flag had to be set on a
// description that others may share; give it back with SetBlocking.
//
// Why a second description: the flag belongs to the description, which a
// terminal or an inherited pipe shares with other processes, and with this
// one's own output. /proc opens another one.
func Own(fd int) (own int, restore bool, err error) {
	s, err := Look(fd)
	if err != nil {
		return -1, false, err
	}
	if s.Blocking && (s.Kind == Fifo || s.Kind == Device && terminal(fd)) {
		if own, err = reopen(fd, s); err == nil {
			return own, false, nil
		}
	}
	if own, err = Duplicate(fd); err != nil {
		return -1, false, os.NewSyscallError("fcntl", err)
	}
	if !s.Blocking {
		return own, false, nil
	}
	if err := unix.SetNonblock(own, true); err != nil {
		_ = unix.Close(own)
		return -1, false, os.NewSyscallError("fcntl", err)
	}
	return own, true, nil
}

func reopen(fd int, s Shape) (int, error) {
	mode := unix.O_RDWR
	switch {
	case !s.Writes:
		mode = unix.O_RDONLY
	case !s.Reads:
		mode = unix.O_WRONLY
	}
	return unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), mode|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
}

// terminal reports whether fd is a terminal and not the master of one: opening
// that again would make a new terminal.
func terminal(fd int) bool {
	if _, err := unix.IoctlGetInt(fd, unix.TIOCGPTN); err == nil {
		return false
	}
	_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	return err == nil
}

// SetBlocking takes the non-blocking flag off.
func SetBlocking(fd int) { _ = unix.SetNonblock(fd, false) }

// Blank puts the null device in the place of fd, so that its number cannot
// become another file's.
func Blank(fd int) error {
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("open", err)
	}
	defer unix.Close(null)
	return os.NewSyscallError("dup3", unix.Dup3(null, fd, 0))
}

// Pipe makes a pipe that no child inherits; both ends block.
func Pipe() (r, w int, err error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return -1, -1, os.NewSyscallError("pipe2", err)
	}
	return p[0], p[1], nil
}

// SetNonblocking sets the non-blocking flag.
func SetNonblocking(fd int) error { return unix.SetNonblock(fd, true) }

// ReaderGone reports whether nobody can read any more what is written to fd.
func ReaderGone(fd int, kind Kind) bool {
	if kind == Stream {
		var b [1]byte
		n, _, err := unix.Recvfrom(fd, b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return err == nil && n == 0 || err != nil && !WouldBlock(err)
	}
	fds := []unix.PollFd{{Fd: int32(fd)}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0 && fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
}

// HungUp reports whether err is how a terminal says that its other side left.
func HungUp(err error) bool { return err == unix.EIO }

// BrokenPipe is the error of writing to nobody.
var BrokenPipe error = unix.EPIPE
