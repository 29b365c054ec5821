package transportactors

import (
	"context"
	"errors"
	"net"
	"slices"
	"syscall"
	"time"

	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/loopnode"
)

// CreateUnixConnection is CreateConnection to the UNIX stream server at path; a
// leading NUL or '@' makes the name abstract. With WithSocket, which must be a
// UNIX stream socket, path is empty. While the server's backlog is full it waits.
// Errors besides those of CreateConnection: syscall.ENOENT (no such path),
// syscall.ECONNREFUSED (nobody listens). asyncio: loop.create_unix_connection.
func CreateUnixConnection[P Protocol](ctx context.Context, factory func() P, path string, opts ...ConnectOption) (Transport, P, error) {
	network, err := unixNetwork(path, opts)
	if err != nil {
		var p P
		return nil, p, err
	}
	return CreateConnection(ctx, factory, network, path, opts...)
}

// CreateUnixServer is CreateServer at path; a leading NUL or '@' makes the name
// abstract. The file of a dead socket there is replaced. Anything else that is
// there is syscall.EADDRINUSE: another kind of file always, a living socket
// unless WithTakeOver. Close removes the file while it is still this server's,
// unless WithCleanupSocket(false). WithMode sets its permissions. With
// WithSocket, a bound UNIX stream socket, path is empty; Close removes its file,
// too, while it is still that socket's. asyncio: loop.create_unix_server.
func CreateUnixServer[P Protocol](ctx context.Context, factory func() P, path string, opts ...ServerOption) (*Server, error) {
	network, err := unixNetwork(path, opts)
	if err != nil {
		return nil, err
	}
	return CreateServer(ctx, factory, network, path, adoptFile(opts)...)
}

// OpenUnixConnection is CreateUnixConnection for a Stream of the calling task.
// asyncio.open_unix_connection.
func OpenUnixConnection(ctx context.Context, path string, opts ...ConnectOption) (*Stream, error) {
	network, err := unixNetwork(path, opts)
	if err != nil {
		return nil, err
	}
	return OpenConnection(ctx, network, path, opts...)
}

// StartUnixServer is CreateUnixServer with a task for each connection, as
// StartServer has. asyncio.start_unix_server.
func StartUnixServer(ctx context.Context, handle func(ctx context.Context, s *Stream) error, path string, opts ...ServerOption) (*Server, error) {
	network, err := unixNetwork(path, opts)
	if err != nil {
		return nil, err
	}
	return StartServer(ctx, handle, network, path, adoptFile(opts)...)
}

// adoptFile makes the server remove the file of a socket that it was given, too.
func adoptFile(opts []ServerOption) []ServerOption {
	return append(slices.Clone(opts), option(func(o *options) { o.file.adopt = true }))
}

// unixNetwork is the network to ask for: none with a socket that was given.
func unixNetwork[O setter](path string, opts []O) (string, error) {
	o, err := collect(opts)
	switch {
	case err != nil:
		return "", err
	case o.socket < 0 && path == "":
		return "", invalid("no path and no socket were specified: give one of them")
	case o.socket < 0:
		return unixName, nil
	case path != "":
		return "", invalid("path and WithSocket can not be specified at the same time")
	case !sock.IsUnix(o.socket):
		return "", invalid("a UNIX domain stream socket was expected, got descriptor %d", o.socket)
	}
	return "", nil
}

// bindUnix makes the listening socket of a path.
func (s *Server) bindUnix(a net.Addr, o options) (*listener, error) {
	fd := -1
	file, err := bindPath(s.loop, a.String(), o.file, func() (err error) {
		fd, err = sock.OpenListener(a, sock.ListenOptions{Mode: o.file.mode})
		return err
	})
	if err != nil {
		if fd >= 0 {
			_ = sock.Close(fd)
		}
		return nil, err
	}
	ln := newListener(s, fd)
	ln.file = file
	return ln, nil
}

const (
	firstRetry = time.Millisecond
	lastRetry  = 50 * time.Millisecond
)

// dialRetrying is sock.Dial that waits for a server whose backlog is full.
//
// Why: for a UNIX socket the kernel says EAGAIN then and goes on with nothing,
// so no event of the descriptor would ever tell; asking again is all there is.
func dialRetrying(ctx context.Context, a, from net.Addr) (fd int, done bool, err error) {
	for pause := firstRetry; ; pause = min(2*pause, lastRetry) {
		fd, done, err = sock.Dial(a, from)
		if !errors.Is(err, syscall.EAGAIN) || !networkOf(a).fullTells {
			return fd, done, err
		}
		if err := loopnode.Sleep(ctx, pause); err != nil {
			return -1, false, err
		}
	}
}

// PeerCred is who made the other end of a UNIX stream connection, as the kernel
// saw it then: for a server who connected, for a client who listened.
type PeerCred struct{ PID, UID, GID int }

func (e *endpoint) peerCred() any {
	if !networkOf(e.local).ancillary || e.socket.FD() < 0 {
		return nil
	}
	pid, uid, gid, err := sock.PeerCred(e.socket.FD())
	if err != nil {
		return nil
	}
	return PeerCred{pid, uid, gid}
}
