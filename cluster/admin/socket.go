package admin

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/loopmesh/loopmesh/internal/filelock"
)

// The admin socket on disk: where it lies, who may have it and whom to trust.
//
// Why a file and not a port: the permissions of the folder decide who may ask, and
// the kernel tells each side who the other is (SO_PEERCRED). A unix socket has one
// trap. Its file outlives the process: a killed node leaves it behind, and bind
// refuses a path that exists. Whether somebody still listens cannot be found out
// without a race by connecting, so each node holds a lock beside its socket; who gets
// the lock may replace the socket.

var (
	// ErrInUse: a running node has the socket.
	ErrInUse = errors.New("admin socket is in use")
	// ErrUntrusted: another user could read what is sent to the socket.
	ErrUntrusted = errors.New("admin socket is not trusted")
)

const (
	suffix     = ".sock"
	lockSuffix = ".lock"
	longest    = 107 // bytes of a unix socket's path that the kernel takes
)

// Dir is the folder of the sockets of this user's nodes.
func Dir() string {
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "loopmesh")
	}
	return filepath.Join(os.TempDir(), "loopmesh-"+strconv.Itoa(os.Getuid()))
}

// Path is where the socket of a node is, unless it was told another place.
func Path(node string) string { return filepath.Join(Dir(), node+suffix) }

// Sockets are the names of the nodes with a socket in Dir, living or not, sorted.
func Sockets() []string {
	all, _ := filepath.Glob(Path("*")) // the pattern is well-formed
	for i, path := range all {
		all[i] = strings.TrimSuffix(filepath.Base(path), suffix)
	}
	slices.Sort(all)
	return all
}

// socket is a listening socket and the lock that says whose it is. Why a lock:
// the kernel frees it however the process ends, so whoever gets it knows that
// the socket beside it is dead, without a race.
type socket struct {
	path     string
	listener net.Listener
	lock     *os.File
}

// listen takes the lock beside path and then listens. The order matters: with the
// lock held, a socket at path belongs to nobody that lives, so bind may replace it.
// Two nodes that start at the same moment cannot both get the lock.
func listen(path string) (*socket, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	if err := ownFolder(filepath.Dir(path)); err != nil {
		return nil, err
	}
	s := &socket{path: path}
	if s.lock, err = os.OpenFile(strings.TrimSuffix(path, suffix)+lockSuffix, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	if err := filelock.Take(s.lock); err != nil {
		_ = s.lock.Close()
		return nil, fmt.Errorf("%w: a node that runs has %s", ErrInUse, path)
	}
	if s.listener, err = bind(path); err != nil {
		_ = s.lock.Close()
		return nil, fmt.Errorf("admin socket %s: %w", path, err)
	}
	return s, nil
}

// ownFolder makes the folder of a socket and checks it.
func ownFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("folder of the admin socket: %w", err)
	}
	return checkFolder(dir)
}

// CheckDir makes Dir, if it is not there, and tells whether a node may put its socket
// there: ErrUntrusted when somebody else could have made it.
func CheckDir() error { return ownFolder(Dir()) }

// checkFolder refuses the default folder when somebody else could have put a
// socket there. Why: without XDG_RUNTIME_DIR the folder is in the temporary
// directory, where any user can make a folder of that name first, listen in
// it, and so receive what our commands send. A folder that the user named
// with --socket is the user's own choice and is not checked.
func checkFolder(dir string) error {
	if dir != Dir() {
		return nil
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("folder of the admin socket: %w", err)
	}
	if !info.IsDir() || !ownedByUs(info) || info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%w: the folder %s is open to other users or belongs to another user; remove it, or set XDG_RUNTIME_DIR or --socket", ErrUntrusted, dir)
	}
	return nil
}

// checkServer refuses a socket that another user's process serves. Root is
// trusted by everybody, and may ask whomever it names with --socket.
func checkServer(path string, c net.Conn) error {
	uid, ok := peerUID(c)
	if !ok {
		return nil // this system does not tell; the folder was checked
	}
	named := filepath.Dir(path) != Dir()
	if trustedUID(uid, os.Getuid(), named) {
		return nil
	}
	return fmt.Errorf("%w: the process that listens on %s belongs to user %d, not to you; if you trust it, run the command as that user", ErrUntrusted, path, uid)
}

// trustedUID decides whether a client run by us may talk to a server run by
// uid; named is set when the user chose the socket.
func trustedUID(uid, us int, named bool) bool {
	return uid == us || uid == 0 || us == 0 && named
}

// bind puts a listening socket at path, readable for its owner from the first
// moment: it is made in a folder nobody else can enter and then moved.
func bind(path string) (net.Listener, error) {
	hidden, err := os.MkdirTemp(filepath.Dir(path), ".")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(hidden)
	first := filepath.Join(hidden, "s")
	if n := max(len(first), len(path)); n > longest {
		return nil, fmt.Errorf("the path is too long for a unix socket by %d bytes; choose a shorter one with --socket", n-longest)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: first, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // it will have moved
	if err = os.Chmod(first, 0o600); err == nil {
		err = replace(first, path)
	}
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// replace moves the new socket over a dead one, and over nothing else.
func replace(first, path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return err
	case info.Mode().Type() != os.ModeSocket:
		return errors.New("there is something that is not a socket; remove it or choose another place with --socket")
	}
	return os.Rename(first, path)
}

// remove takes the socket's name away: a new client finds nobody, while connections
// that are open go on.
func (s *socket) remove() { _ = os.Remove(s.path) }

// release lets another node have the place. The lock's file stays: removing it
// could take the lock of somebody who has opened it meanwhile.
func (s *socket) release() { _ = s.lock.Close() }
