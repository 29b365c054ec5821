package loopnode

import (
	"context"
	"fmt"
	"net"
	"slices"
	"syscall"

	"github.com/loopmesh/loopmesh/internal/sock"
)

// maxReceive bounds what one receive asks the kernel for.
const maxReceive = 16 << 20

// SockRecv receives 1 to n bytes, at most 256 KiB at once; none with a nil error
// is the end of the stream, or n was 0. asyncio: loop.sock_recv.
//
// All socket operations have this in common. The descriptor is non-blocking and
// stays the caller's. The system call is tried at once; only when it must does
// the operation wait: a task is suspended, a goroutine without a task (with a
// ctx of Loop.Context) blocks. Cancelling the task or ending ctx ends the wait,
// takes no data, and leaves the descriptor free for the next operation.
//
// One operation at a time may use one direction of a descriptor: the second one
// gets ErrBusy, as does one that would take the place of AddReader or
// AddWriter, and one on the descriptor of an open transport. Closing the
// descriptor under an operation neither disturbs it nor ends it: cancel it.
//
// Errors of all: ErrBusy, ErrInvalidArgument (a negative or blocking
// descriptor), the kernel's (EBADF for one that is not open, ENOTSOCK at once for
// a file, pipe or device, ECONNRESET, …), CancelledError, ErrTimeout,
// ErrNoRunningLoop, ErrLoopClosed,
// ErrWouldBlock (in a callback).
func SockRecv(ctx context.Context, fd, n int) ([]byte, error) {
	if n < 0 {
		return nil, invalid("negative buffer size %d in SockRecv", n)
	}
	return onSocket(ctx, side{fd: fd}, func(on int) ([]byte, error) {
		if n == 0 {
			return nil, nil
		}
		buf := loopOf(ctx).readBuffer()
		got, err := sock.Read(on, buf[:min(n, len(buf))])
		if err != nil {
			return nil, sockError("receiving from", fd, err)
		}
		return slices.Clone(buf[:got]), nil
	})
}

// SockRecvInto is SockRecv into buf, which is the kernel's until it returns. It
// returns how many bytes came. asyncio: loop.sock_recv_into.
func SockRecvInto(ctx context.Context, fd int, buf []byte) (int, error) {
	return onSocket(ctx, side{fd: fd}, func(on int) (int, error) {
		if len(buf) == 0 {
			return 0, nil
		}
		n, err := sock.Read(on, buf)
		return max(n, 0), sockError("receiving from", fd, err)
	})
}

// datagram is what came and from where.
type datagram struct {
	data []byte
	n    int
	from net.Addr
}

// SockRecvfrom receives one datagram of at most n bytes, the rest of a longer one
// is lost, and who sent it: a *net.UDPAddr or *net.UnixAddr, nil for a sender
// without a name. asyncio: loop.sock_recvfrom.
func SockRecvfrom(ctx context.Context, fd, n int) ([]byte, net.Addr, error) {
	if n < 0 {
		return nil, nil, invalid("negative buffer size %d in SockRecvfrom", n)
	}
	d, err := onSocket(ctx, side{fd: fd}, func(on int) (d datagram, err error) {
		buf := loopOf(ctx).readBuffer()
		if n > len(buf) {
			buf = make([]byte, min(n, maxReceive))
		}
		if d.n, d.from, err = sock.ReadFrom(on, buf[:min(n, len(buf))]); err != nil {
			return datagram{}, sockError("receiving from", fd, err)
		}
		d.data = slices.Clone(buf[:d.n])
		return d, nil
	})
	return d.data, d.from, err
}

// SockRecvfromInto is SockRecvfrom into buf; it returns how many bytes of the
// datagram are in it. asyncio: loop.sock_recvfrom_into.
func SockRecvfromInto(ctx context.Context, fd int, buf []byte) (int, net.Addr, error) {
	d, err := onSocket(ctx, side{fd: fd}, func(on int) (d datagram, err error) {
		d.n, d.from, err = sock.ReadFrom(on, buf)
		return d, sockError("receiving from", fd, err)
	})
	return max(d.n, 0), d.from, err
}

// SockSendall sends all of data and returns when the kernel has it. data must
// not change until then. It sends at most one piece in each turn, so a fast
// peer does not hold the loop. After an error or a cancellation an unknown part
// has been sent: the stream is of no more use. asyncio: loop.sock_sendall.
func SockSendall(ctx context.Context, fd int, data []byte) error {
	_, err := onSocket(ctx, side{fd, true}, func(on int) (struct{}, error) {
		if len(data) == 0 {
			return struct{}{}, nil
		}
		n, err := sock.Write(on, data)
		if err != nil {
			return struct{}{}, sockError("sending to", fd, err)
		}
		if data = data[n:]; len(data) > 0 {
			return struct{}{}, syscall.EAGAIN
		}
		return struct{}{}, nil
	})
	return err
}

// SockSendto sends one datagram to addr (anything of package net with a port or
// a path) and returns its length. It waits while the kernel has no room.
// asyncio: loop.sock_sendto.
func SockSendto(ctx context.Context, fd int, data []byte, addr net.Addr) (int, error) {
	if err := usable("SockSendto", addr); err != nil {
		return 0, err
	}
	return onSocket(ctx, side{fd, true}, func(on int) (int, error) {
		if err := sock.WriteTo(on, data, addr); err != nil {
			return 0, sockError("sending to "+addr.String()+" from", fd, err)
		}
		return len(data), nil
	})
}

// SockAccept waits for a client of a listening socket: its descriptor, which is
// non-blocking and the caller's to close, and its address. asyncio:
// loop.sock_accept.
func SockAccept(ctx context.Context, fd int) (int, net.Addr, error) {
	type client struct {
		fd   int
		from net.Addr
	}
	c, err := onSocket(ctx, side{fd: fd}, func(on int) (client, error) {
		n, from, err := sock.AcceptFrom(on)
		return client{n, from}, sockError("accepting on", fd, err)
	})
	if err != nil {
		return -1, nil, err
	}
	return c.fd, c.from, nil
}

// namedAddr is an address whose host may be a name: a lookup.HostPort.
type namedAddr interface {
	net.Addr
	// Resolve is the address to use for a socket of this kind. It may wait.
	Resolve(ctx context.Context, family, kind, proto int) (net.Addr, error)
}

// SockConnect connects fd to addr, a *net.TCPAddr, *net.UDPAddr, *net.UnixAddr
// or lookup.HostPort, whose host may be a name. A failure names the
// address; the descriptor of a failed or cancelled connect is only good for
// closing. A UNIX listener whose backlog is full is EAGAIN at once.
// asyncio: loop.sock_connect.
func SockConnect(ctx context.Context, fd int, addr net.Addr) error {
	if err := usable("SockConnect", addr); err != nil {
		return err
	}
	_, err := asTask(ctx, func(ctx context.Context) (struct{}, error) {
		to, err := lookedUp(ctx, fd, addr)
		if err != nil {
			return struct{}{}, err
		}
		c := &connecting{to: to}
		return onSocket(ctx, side{fd, true}, c.try)
	})
	return err
}

// lookedUp is addr with a name's address in its place.
func lookedUp(ctx context.Context, fd int, addr net.Addr) (net.Addr, error) {
	named, ok := addr.(namedAddr)
	if !ok {
		return addr, nil
	}
	family, kind, proto, err := sock.Describe(fd)
	if err != nil {
		return nil, sockError("looking at", fd, err)
	}
	return named.Resolve(ctx, family, kind, proto)
}

// connecting is one SockConnect on its way.
type connecting struct {
	to    net.Addr
	begun bool
}

func (c *connecting) try(fd int) (struct{}, error) {
	var err error
	if !c.begun {
		switch err = sock.Connect(fd, c.to); err {
		case syscall.EINPROGRESS, syscall.EINTR: // Why: an interrupted connect goes on by itself
			c.begun = true
			return struct{}{}, syscall.EAGAIN
		}
	} else if err = sock.Failure(fd); err == nil && !sock.Connected(fd) {
		return struct{}{}, syscall.EAGAIN
	}
	if err != nil {
		err = fmt.Errorf("connect call failed (%s): %w", c.to, err)
	}
	return struct{}{}, err
}

// sockError says what failed on what; would-block passes as it is.
func sockError(what string, fd int, err error) error {
	if err == nil || sock.WouldBlock(err) {
		return err
	}
	return fmt.Errorf("%s descriptor %d: %w", what, fd, err)
}
