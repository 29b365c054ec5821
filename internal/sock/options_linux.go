package sock

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// SetNoDelay says whether small writes are sent at once; an error on a UNIX socket.
func SetNoDelay(fd int, on bool) error {
	return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, number(on))
}

// SetKeepAlive asks the kernel to look now and then whether the peer is there.
func SetKeepAlive(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1) }

// SetKeepAliveTimes is SetKeepAlive with the times that are positive, in whole
// seconds, at least one.
func SetKeepAliveTimes(fd int, on bool, idle, interval time.Duration, count int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, number(on)); err != nil || !on {
		return err
	}
	for _, o := range []struct{ name, value int }{
		{unix.TCP_KEEPIDLE, seconds(idle)}, {unix.TCP_KEEPINTVL, seconds(interval)}, {unix.TCP_KEEPCNT, count},
	} {
		if o.value <= 0 {
			continue
		}
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, o.name, o.value); err != nil {
			return err
		}
	}
	return nil
}

func seconds(d time.Duration) int {
	if d <= 0 {
		return 0
	}
	return int((d + time.Second - 1) / time.Second)
}

func number(on bool) int {
	if on {
		return 1
	}
	return 0
}

// SetReadBuffer is how much the kernel keeps for the reader.
func SetReadBuffer(fd, bytes int) error {
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, bytes)
}

// SetWriteBuffer is how much the kernel takes from the writer.
func SetWriteBuffer(fd, bytes int) error {
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, bytes)
}

// Membership joins or leaves a multicast group on the interface with that number,
// 0 for the system's choice.
func Membership(fd int, group netip.Addr, index int, join bool) error {
	switch {
	case !group.IsMulticast():
		return unix.EINVAL
	case group.Is4():
		name := unix.IP_DROP_MEMBERSHIP
		if join {
			name = unix.IP_ADD_MEMBERSHIP
		}
		return unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, name, &unix.IPMreqn{Multiaddr: group.As4(), Ifindex: int32(index)})
	}
	name := unix.IPV6_LEAVE_GROUP
	if join {
		name = unix.IPV6_JOIN_GROUP
	}
	return unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, name, &unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(index)})
}

// SetMulticastTTL is how many hops a multicast datagram lives.
func SetMulticastTTL(fd, hops int) error {
	return ofFamily(fd, func(f *family) sockOption { return f.multicastTTL }, hops)
}

// SetMulticastLoopback says whether this machine's members get its own datagrams.
func SetMulticastLoopback(fd int, on bool) error {
	return ofFamily(fd, func(f *family) sockOption { return f.multicastLoopback }, number(on))
}

// ofFamily sets the option of the socket's own family; EOPNOTSUPP when it has none.
func ofFamily(fd int, of func(*family) sockOption, value int) error {
	f, err := familyOfSocket(fd)
	if err != nil {
		return err
	}
	o := of(f.row())
	if o == (sockOption{}) {
		return unix.EOPNOTSUPP
	}
	return unix.SetsockoptInt(fd, o.level, o.name, value)
}

// SetPipeSize is how many bytes a pipe holds; the kernel rounds up.
func SetPipeSize(fd, bytes int) error {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_SETPIPE_SZ, bytes)
	return err
}
