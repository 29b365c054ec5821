package admin

import (
	"net"

	"golang.org/x/sys/unix"
)

// peerUID returns the user whose process listens at the other end of a unix socket.
// SO_PEERCRED is filled in by the kernel, for a client with what the server was when
// it called listen; the server cannot choose it. ok is false where it cannot be
// known.
func peerUID(c net.Conn) (uid int, ok bool) {
	u, isUnix := c.(*net.UnixConn)
	if !isUnix {
		return 0, false
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return 0, false
	}
	err = raw.Control(func(fd uintptr) {
		cred, e := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if ok = e == nil; ok {
			uid = int(cred.Uid)
		}
	})
	return uid, ok && err == nil
}
