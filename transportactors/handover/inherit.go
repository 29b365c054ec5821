package handover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

// Sockets are the listening sockets that this process was given. Owned by the task that
// Inherit was called in: methods are called there.
//
// Invariant: have are the descriptors that nobody took; Close closes them.
type Sockets struct {
	have  []socket
	from  *transportactors.Stream // to the process before; nil: there is none
	limit time.Duration           // askLimit
}

// socket is a listening descriptor and the name that it was given under.
type socket struct {
	name string
	fd   int
}

// askLimit bounds the wait for a process that listens at the path and does not answer, and
// for one that does not confirm.
const askLimit = 10 * time.Second

// Inherit takes the listening sockets of the process that serves at path (see Open), or
// else those that the environment gives (LISTEN_FDS). There may be none: then this is the
// first process, and Address gives back what it is given. An empty path asks nobody.
//
// Call it in a task, which it suspends for at most ten seconds. Errors: loopnode.ErrBusy
// (another process is taking over at this moment: try again later), loopnode.ErrTimeout,
// loopnode.ErrInvalidArgument (the environment makes no sense), fs.ErrPermission (the
// process at path is another user's), those of transportactors.CreateUnixConnection.
// Nothing is left open then.
func Inherit(ctx context.Context, path string) (*Sockets, error) {
	in := &Sockets{limit: askLimit}
	err := in.inherit(ctx, path)
	if err != nil {
		in.Close()
		return nil, fmt.Errorf("taking over listening sockets: %w", err)
	}
	return in, nil
}

func (in *Sockets) inherit(ctx context.Context, path string) error {
	if path != "" {
		if err := loopnode.Timeout(ctx, in.limit, func(ctx context.Context) error { return in.ask(ctx, path) }); err != nil {
			return fmt.Errorf("from the process that serves at %s: %w", path, err)
		}
	}
	if in.from != nil {
		return nil
	}
	return in.takeEnvironment()
}

// receiver is the protocol of a connection that brings sockets.
type receiver struct {
	transportactors.StreamProtocol
	files []*os.File
}

// FilesReceived keeps the sockets that come with the offer.
func (r *receiver) FilesReceived(files []*os.File) { r.files = append(r.files, files...) }

func (r *receiver) close() {
	for _, f := range r.files {
		_ = f.Close()
	}
}

// ask takes the sockets of the process at path. It leaves in as it is when nobody is
// there: a path that does not exist, or the file of a process that has died.
func (in *Sockets) ask(ctx context.Context, path string) error {
	t, r, err := transportactors.CreateUnixConnection(ctx, func() *receiver { return &receiver{} }, path)
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil
	}
	if err != nil {
		return err
	}
	defer r.close() // the sockets are other descriptors of the same files
	in.from = r.Stream(ctx)
	if err := checkPeer(t); err != nil {
		return err
	}
	line, err := in.from.ReadLine()
	if err != nil {
		return fmt.Errorf("it ended the connection before it offered anything: %w", err)
	}
	return in.take(line, r.files)
}

// take reads an offer, and keeps a descriptor of each socket that came with it.
func (in *Sockets) take(line []byte, files []*os.File) error {
	var o offer
	switch err := json.Unmarshal(line, &o); {
	case err != nil || o.Version != version:
		return fmt.Errorf("%w: it says %.100q, which is no offer of version %d", loopnode.ErrInvalidArgument, line, version)
	case o.Refused != "":
		return fmt.Errorf("%w: %s", loopnode.ErrBusy, o.Refused)
	case len(o.Names) != len(files):
		return fmt.Errorf("%w: it offers %d sockets and sent %d", loopnode.ErrInvalidArgument, len(o.Names), len(files))
	}
	for i, f := range files {
		fd, err := duplicate(f)
		if err != nil {
			return fmt.Errorf("socket %s: %w", o.Names[i], err)
		}
		in.have = append(in.have, socket{o.Names[i], fd})
		if !sock.Listening(fd) {
			return fmt.Errorf("%w: what it sent as %s is no listening socket", loopnode.ErrInvalidArgument, o.Names[i])
		}
	}
	return nil
}

// duplicate is another descriptor of a file. Why not File.Fd: it would make the open file
// blocking, which the old process has as well, and its accept would hold up its loop.
func duplicate(f *os.File) (fd int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	if failed := raw.Control(func(own uintptr) { fd, err = sock.Duplicate(int(own)) }); failed != nil {
		return -1, failed
	}
	return fd, err
}

// Names are the names of the sockets that nobody took, in the order in which they came. One
// that stands there twice belongs to a server that listened on two addresses.
func (in *Sockets) Names() (names []string) {
	for _, s := range in.have {
		names = append(names, s.name)
	}
	return names
}

// Address is where a server listens: on the socket of that name, if this process was given
// one, else on network and address as they are. The results are for CreateServer,
// StartServer and their kin, with socket among the options; the server closes the socket from
// then on. A second call with a name gives its next socket. It does not wait.
func (in *Sockets) Address(name, network, address string) (net, at string, socket transportactors.ServerOption) {
	for i, s := range in.have {
		if s.name == name {
			in.have = append(in.have[:i], in.have[i+1:]...)
			return "", "", transportactors.WithSocket(s.fd)
		}
	}
	return network, address, nil
}

// At is Address as one text, for a part of the program that takes it with the function At: it
// names the socket of that name if this process was given one that is bound to the address, else
// it is the address as it is. So an address that the configuration has changed is bound anew. A
// socket that is named so belongs to who takes it. It does not wait.
func (in *Sockets) At(name, address string) string {
	for i, s := range in.have {
		if s.name == name && boundTo(s.fd, address) {
			in.have = append(in.have[:i], in.have[i+1:]...)
			return scheme + ":" + strconv.Itoa(s.fd)
		}
	}
	return address
}

// boundTo reports whether a socket may be what an address means: its port is that one, or the
// address leaves it open, and so is its host. A host by its name may mean every address.
func boundTo(fd int, address string) bool {
	host, port, err := net.SplitHostPort(address)
	at, ok := sock.LocalName(fd).Stream().(*net.TCPAddr)
	if err != nil || !ok {
		return true // fd://NAME, or a path: there is nothing to compare
	}
	if port != "0" && port != strconv.Itoa(at.Port) {
		return false
	}
	ip := net.ParseIP(host)
	return ip == nil || ip.Equal(at.IP)
}

// Serving tells the process before that this one accepts clients, and waits until it has
// heard: from then on it lets go. Without a process before it does nothing. Call it when
// every server that took a socket is up. Errors: loopnode.ErrTimeout, and the reason why the
// connection ended: the process before has gone, or does not let go.
func (in *Sockets) Serving(ctx context.Context) error {
	if in.from == nil {
		return nil
	}
	err := loopnode.Timeout(ctx, in.limit, func(ctx context.Context) error {
		if _, err := io.WriteString(in.from.With(ctx), sayServing); err != nil {
			return err
		}
		return in.confirmed(ctx)
	})
	if errors.Is(err, loopnode.ErrTimeout) && in.lastWord(ctx) == nil {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("the process before did not confirm that it lets go: %w", err)
	}
	return nil
}

// confirmed waits for the word of the process before.
func (in *Sockets) confirmed(ctx context.Context) error {
	line, err := in.from.With(ctx).ReadLine()
	if err == nil && string(line) != sayYours {
		err = fmt.Errorf("%w: it answers %.100q", loopnode.ErrInvalidArgument, line)
	}
	return err
}

// When the time is over, either process may have stood still, and the word may be in the
// kernel already: then the old process has let go, and nobody would serve if this one gave up.
// So this one first has the kernel take nothing more. What had come by then is read. What had
// not, the old process cannot send any more: its write fails, and it goes on.

// lastWord reads the word of the process before if it has been sent, and sees to it that it
// is not sent later.
func (in *Sockets) lastWord(ctx context.Context) error {
	if err := sock.ShutdownRead(in.from.Transport().Socket().FD()); err != nil {
		return err
	}
	return in.confirmed(ctx) // what is there, or the end: it does not wait for anybody
}

// Close closes the sockets that nobody took, and the connection to the process before.
// Without Serving before it, that one goes on as if nothing had happened.
func (in *Sockets) Close() {
	for _, s := range in.have {
		_ = sock.Close(s.fd)
	}
	in.have = nil
	if in.from != nil {
		_ = in.from.Close() // it always returns nil
		in.from = nil
	}
}
