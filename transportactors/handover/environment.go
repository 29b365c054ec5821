package handover

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

// The variables of socket activation (sd_listen_fds(3)), and its first descriptor.
const (
	listenPID   = "LISTEN_PID"
	listenFDs   = "LISTEN_FDS"
	listenNames = "LISTEN_FDNAMES"
	firstFD     = 3
	unnamed     = "unknown" // what sd_listen_fds_with_names calls a socket without a name
)

// activated are the names of the sockets that the service manager has opened for this
// process, in the order of their descriptors; nil: none, or for the process that started
// this one.
func activated() ([]string, error) {
	text := os.Getenv(listenFDs)
	if text == "" || os.Getenv(listenPID) != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > maxSockets {
		return nil, fmt.Errorf("%w: %s is %q; it has to be a number up to %d", loopnode.ErrInvalidArgument, listenFDs, text, maxSockets)
	}
	names := strings.Split(os.Getenv(listenNames), ":")
	for i := range names {
		if names[i] == "" {
			names[i] = unnamed
		}
	}
	for len(names) < n {
		names = append(names, unnamed)
	}
	return names[:n], nil
}

// checkActivated refuses a descriptor that is no listening socket: it is somebody else's,
// and closing it would break what has it.
func checkActivated(i int) error {
	if !sock.Listening(firstFD + i) {
		return fmt.Errorf("%w: %s is %s, and descriptor %d is no listening socket", loopnode.ErrInvalidArgument, listenFDs, os.Getenv(listenFDs), firstFD+i)
	}
	return nil
}

// take takes a socket over that this process was started with. Why a copy: what was inherited
// stays open in every child, a copy does not.
func take(inherited int) (fd int, err error) {
	if fd, err = sock.Duplicate(inherited); err == nil {
		_ = sock.Close(inherited)
	}
	return fd, err
}

// takeEnvironment takes all sockets of the service manager, and takes the variables away, so
// that nobody believes that they are meant for it.
func (in *Sockets) takeEnvironment() error {
	names, err := activated()
	if err != nil || names == nil {
		return err
	}
	for i := range names { // all, before the first one is taken
		if err := checkActivated(i); err != nil {
			return err
		}
	}
	for i, name := range names {
		fd, err := take(firstFD + i)
		if err != nil {
			return fmt.Errorf("socket %s: %w", name, err)
		}
		in.have = append(in.have, socket{name, fd})
	}
	return errors.Join(os.Unsetenv(listenPID), os.Unsetenv(listenFDs), os.Unsetenv(listenNames))
}

// scheme begins an address that names a socket of the service manager.
const scheme = "fd://"

// At lets an address of a program's configuration be "fd://NAME": the listening socket that
// the service manager has opened for this process under that name (FileDescriptorName= of
// systemd); or "fd://:N": the listening descriptor N, as Sockets.At gives it. Any other address
// is given back with its network. The results are for CreateServer, StartServer and their
// kin, with socket among the options:
//
//	network, at, socket, err := handover.At("tcp", address)
//	s, err := transportactors.CreateServer(ctx, factory, network, at, socket)
//
// A socket can be taken once. It does not wait; one goroutine at a time. Use it or Inherit,
// which takes all sockets of the environment. Error: loopnode.ErrInvalidArgument (there is
// no such socket).
func At(network, address string) (net, at string, socket transportactors.ServerOption, err error) {
	name, ok := strings.CutPrefix(address, scheme)
	if !ok {
		return network, address, nil, nil
	}
	if number, ok := strings.CutPrefix(name, ":"); ok {
		return atNumber(address, number)
	}
	names, err := activated()
	if err != nil {
		return "", "", nil, err
	}
	i := slices.Index(names, name)
	if i < 0 {
		return "", "", nil, fmt.Errorf("%w: %s: the service manager gave this process no socket of that name, but %q", loopnode.ErrInvalidArgument, address, names)
	}
	if err := checkActivated(i); err != nil {
		return "", "", nil, err
	}
	return taken(address, firstFD+i)
}

// atNumber is At for a descriptor that its number names.
func atNumber(address, number string) (net, at string, socket transportactors.ServerOption, err error) {
	fd, err := strconv.Atoi(number)
	if err != nil || fd < firstFD || !sock.Listening(fd) {
		return "", "", nil, fmt.Errorf("%w: %s: this process has no listening socket of that number", loopnode.ErrInvalidArgument, address)
	}
	return taken(address, fd)
}

// taken is what At gives of a descriptor.
func taken(address string, fd int) (net, at string, socket transportactors.ServerOption, err error) {
	own, err := take(fd)
	if err != nil {
		return "", "", nil, fmt.Errorf("%s: %w", address, err)
	}
	return "", "", transportactors.WithSocket(own), nil
}
