package sock

import (
	"io/fs"

	"golang.org/x/sys/unix"
)

// Orphaned reports whether the socket file at path belongs to no socket any
// more. When in doubt, it does not.
//
// Why a datagram socket: the kernel looks for the owner before it compares the
// types, so a stream server answers EPROTOTYPE and does not see a client, even
// when it does not listen yet.
func Orphaned(path string) bool {
	n := PathName(path)
	fd, err := OpenDatagram(n.Family())
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return connect(fd, n) == unix.ECONNREFUSED
}

// SetMode gives the file that OpenListener or Bind will make at most these permissions.
func SetMode(fd int, mode fs.FileMode) error { return unix.Fchmod(fd, uint32(mode.Perm())) }

// IsUnix reports whether fd is a UNIX stream socket.
func IsUnix(fd int) bool {
	f, err := familyOfSocket(fd)
	return err == nil && f.Paths() && expect(fd, unix.SOCK_STREAM) == nil
}

// PeerCred is the process, user and group of the other end of a UNIX socket.
func PeerCred(fd int) (pid, uid, gid int, err error) {
	c, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return 0, 0, 0, err
	}
	return int(c.Pid), int(c.Uid), int(c.Gid), nil
}

// ShutdownRead has a UNIX socket take nothing more: what has come can still be read, and a
// write of the other end fails from now on.
func ShutdownRead(fd int) error { return unix.Shutdown(fd, unix.SHUT_RD) }

// ControlSpace is how much room ReadFiles needs for n descriptors.
func ControlSpace(n int) int { return unix.CmsgSpace(4 * n) }

// WriteFiles is Write that sends copies of fds with the first byte.
func WriteFiles(fd int, p []byte, fds []int) (int, error) {
	return unix.SendmsgN(fd, p, unix.UnixRights(fds...), nil, unix.MSG_NOSIGNAL)
}

// ReadFiles is Read that takes descriptors, too; they are close-on-exec and the
// caller's. When some did not fit in or the process has no more, those that came
// are closed and the error is EMFILE.
func ReadFiles(fd int, p, control []byte) (int, []int, error) {
	n, oobn, flags, _, err := unix.Recvmsg(fd, p, control, unix.MSG_CMSG_CLOEXEC)
	if err != nil || oobn == 0 && flags&unix.MSG_CTRUNC == 0 {
		return n, nil, err
	}
	var fds []int
	list, err := unix.ParseSocketControlMessage(control[:oobn])
	for i := range list {
		if got, err := unix.ParseUnixRights(&list[i]); err == nil {
			fds = append(fds, got...)
		}
	}
	if err == nil && flags&unix.MSG_CTRUNC == 0 {
		return n, fds, nil
	}
	for _, f := range fds {
		_ = unix.Close(f)
	}
	if err == nil {
		err = unix.EMFILE
	}
	return n, nil, err
}
