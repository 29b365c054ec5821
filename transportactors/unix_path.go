package transportactors

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/loopnode"
)

// socketFile is the file of a bound UNIX socket, so that its owner removes this
// one and no other that took its path since. nil is no file.
type socketFile struct {
	path string
	info fs.FileInfo
}

// fileOptions is what is asked of the file of a UNIX socket.
type fileOptions struct {
	takeOver bool
	cleanup  bool
	mode     *fs.FileMode // nil: as the umask says
	adopt    bool         // the file of a given socket is removed, too
}

// given reports whether anything was asked for.
func (f fileOptions) given() bool { return f.takeOver || !f.cleanup || f.mode != nil }

// WithTakeOver lets a UNIX socket have a path that a living socket holds: the
// other one keeps its connections and hears of no new ones. Without it that is
// EADDRINUSE.
func WithTakeOver(on bool) interface {
	ServerOption
	DatagramOption
} {
	return option(func(o *options) { o.file.takeOver = on })
}

// WithCleanupSocket(false) leaves the file of a UNIX socket when the server or
// datagram endpoint that made it closes. asyncio: cleanup_socket.
func WithCleanupSocket(on bool) interface {
	ServerOption
	DatagramOption
} {
	return option(func(o *options) { o.file.cleanup = on })
}

// WithMode sets the permissions of the file of a UNIX socket; there is no moment
// with wider ones. Without it the process's umask decides.
func WithMode(mode fs.FileMode) interface {
	ServerOption
	DatagramOption
} {
	return option(func(o *options) { o.file.mode = &mode })
}

// isAbstract reports whether path names no file.
func isAbstract(path string) bool { return strings.HasPrefix(path, "@") }

// clearPath makes room for a socket at path: a file of a socket that is dead is
// removed. Anything else that is there is an EADDRINUSE, except that takeOver
// removes a living socket's file too. What goes wrong meanwhile is logged and
// left for bind to say.
func clearPath(l *loopnode.Loop, path string, takeOver bool) error {
	if isAbstract(path) {
		return nil
	}
	before, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		l.Logger().Error("looking at the path of a UNIX socket failed", "path", path, "error", err)
		return nil
	case before.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%w: address %q is already in use: it is not a socket, so it is not removed", syscall.EADDRINUSE, path)
	case !takeOver && !sock.Orphaned(path):
		return fmt.Errorf("%w: address %q is already in use by a living socket", syscall.EADDRINUSE, path)
	}
	if now, err := os.Lstat(path); err != nil || !os.SameFile(before, now) || !now.ModTime().Equal(before.ModTime()) {
		return nil // somebody else made it anew meanwhile; bind reports that
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.Logger().Error("removing the stale file of a UNIX socket failed", "path", path, "error", err)
	}
	return nil
}

// bindPath makes room at path, calls bind, which has a socket take it with at
// most the mode of o, and looks after the file.
func bindPath(l *loopnode.Loop, path string, o fileOptions, bind func() error) (*socketFile, error) {
	if err := clearPath(l, path, o.takeOver); err != nil {
		return nil, err
	}
	if err := bind(); err != nil || isAbstract(path) {
		return nil, err
	}
	if o.mode != nil { // Why again: bind took the umask's bits away
		if err := os.Chmod(path, o.mode.Perm()); err != nil {
			_ = os.Remove(path)
			return nil, fmt.Errorf("setting the mode of %q: %w", path, err)
		}
	}
	info, err := os.Lstat(path)
	if err != nil || !o.cleanup {
		return nil, nil // gone, or not to be removed
	}
	return &socketFile{path, info}, nil
}

// ofSocket is the file of a bound socket that somebody else made, to be removed
// at Close; nil when at has none, or it is to stay, as it does for CreateServer.
//
// As CPython does, the socket file at the address is taken for this socket's: a
// socket does not tell which file it has.
func (o fileOptions) ofSocket(at net.Addr) *socketFile {
	if !networkOf(at).usesPaths() || !o.cleanup || !o.adopt {
		return nil
	}
	path := at.String()
	if path == "" || isAbstract(path) {
		return nil
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != fs.ModeSocket {
		return nil
	}
	return &socketFile{path, info}
}

// remove removes the file if it is still the same one. Call it while the socket
// is open: a number of an inode that is not in use any more may be another file.
func (f *socketFile) remove(l *loopnode.Loop) {
	if f == nil {
		return
	}
	now, err := os.Lstat(f.path)
	if err == nil && os.SameFile(f.info, now) {
		err = os.Remove(f.path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.Logger().Error("removing the file of a UNIX socket failed", "path", f.path, "error", err)
	}
}
