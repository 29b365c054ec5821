package handover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

// What the two processes say to each other, a line each. The old one begins with an offer;
// with the first byte of that line come the sockets. The new one answers when it serves, the
// old one confirms. A connection that ends before that was no hand-over: the old process
// goes on, and the new one has an error.
const (
	version    = 1
	sayServing = "serving\n"
	sayYours   = "yours\n"
	maxSockets = 253 // the kernel carries no more with one line
)

// servingLimit is how long a process may have the sockets before it says that it serves. One
// that stands still would keep every other one away, for as long as it exists.
const servingLimit = time.Minute

// offer is the first line.
type offer struct {
	Version int      `json:"v"`
	Names   []string `json:"names,omitempty"`   // of the sockets that come with the line, in their order
	Refused string   `json:"refused,omitempty"` // why there are none
}

// Offer is a UNIX socket at which the next process gets the listening sockets of this one.
// Owned by the loop that Open was called on.
type Offer struct {
	server   *transportactors.Server
	servers  map[string]*transportactors.Server
	asked    bool          // a process has the sockets, and has not said yet that it serves
	limit    time.Duration // servingLimit
	copying  time.Duration // copyLimit
	replaced chan struct{}
}

// Open offers the sockets of servers, by their names, to whoever calls Inherit with this
// path. It takes the path from a process that offered there before. The servers go on as
// they are, also when the next process serves (Replaced): closing them is up to the
// caller. They may live on other loops of this process. A process that has the sockets and does not say within a minute that it serves has
// given up: that is reported to the loop's exception handler, and the next one may ask. The
// offer ends with Close or with its loop. Call it in a task. Errors:
// loopnode.ErrInvalidArgument, those of transportactors.CreateUnixServer.
func Open(ctx context.Context, path string, servers map[string]*transportactors.Server) (*Offer, error) {
	for name, s := range servers {
		if name == "" || s == nil {
			return nil, fmt.Errorf("%w: handover: a server to offer needs a name and is not nil", loopnode.ErrInvalidArgument)
		}
	}
	o := &Offer{servers: maps.Clone(servers), limit: servingLimit, copying: copyLimit, replaced: make(chan struct{})}
	var err error
	o.server, err = transportactors.StartUnixServer(ctx, o.serve, path, transportactors.WithTakeOver(true), transportactors.WithMode(0o600))
	if err != nil {
		return nil, fmt.Errorf("offering listening sockets at %s: %w", path, err)
	}
	return o, nil
}

// Replaced is closed when another process has taken the sockets and serves. Any goroutine;
// on a loop wait for it with loopnode.Recv.
func (o *Offer) Replaced() <-chan struct{} { return o.replaced }

// Close takes the offer back. A process that has the sockets already and does not serve yet
// hears of it by the end of its connection. Loop goroutine.
func (o *Offer) Close() {
	o.server.Close()
	o.server.CloseClients()
}

// serve is the task of a process that asks.
func (o *Offer) serve(ctx context.Context, s *transportactors.Stream) error {
	if err := checkPeer(s.Transport()); err != nil {
		return refuse(s, err.Error())
	}
	select {
	case <-o.replaced:
		return refuse(s, "this process was replaced already")
	default:
	}
	if o.asked {
		return refuse(s, "another process has been given the sockets and does not serve yet; try again when it does, or has ended")
	}
	o.asked = true
	defer func() { o.asked = false }()
	if err := o.send(ctx, s.Transport()); err != nil {
		return refuse(s, err.Error())
	}
	if serves, err := o.await(ctx, s); !serves {
		return err
	}
	if _, err := io.WriteString(s, sayYours); err != nil {
		return nil // it said so and died, or has given up since: it will not read the answer
	}
	o.server.Close()
	close(o.replaced)
	return nil
}

// await waits until the process with the sockets says that it serves. false: it has given
// up, and this process goes on.
func (o *Offer) await(ctx context.Context, s *transportactors.Stream) (serves bool, err error) {
	var line []byte
	err = loopnode.Timeout(ctx, o.limit, func(ctx context.Context) (err error) {
		line, err = s.With(ctx).ReadLine()
		return err
	})
	if errors.Is(err, loopnode.ErrTimeout) {
		peer, _ := s.Transport().ExtraInfo("peercred").(transportactors.PeerCred)
		return false, fmt.Errorf("%w: process %d was given the listening sockets and did not say for %v that it serves: this process goes on, and offers them again", err, peer.PID, o.limit)
	}
	return err == nil && string(line) == sayServing, nil
}

// refuse says why there are no sockets. A peer that does not take the line needs none.
func refuse(s *transportactors.Stream, why string) error {
	line, err := json.Marshal(offer{Version: version, Refused: why})
	if err == nil {
		_, _ = s.Write(append(line, '\n'))
	}
	return err
}

// send sends the offer. The copies that are made for it are closed: the kernel has its own.
func (o *Offer) send(ctx context.Context, t transportactors.Transport) error {
	out := offer{Version: version}
	var files []*os.File
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	for _, name := range slices.Sorted(maps.Keys(o.servers)) {
		copies, err := o.copies(ctx, name)
		if err != nil {
			return fmt.Errorf("socket %s cannot be copied: %w", name, err)
		}
		for _, f := range copies {
			files, out.Names = append(files, f), append(out.Names, name)
		}
	}
	line, err := json.Marshal(out)
	if err != nil {
		return err
	}
	return transportactors.SendFiles(t, append(line, '\n'), files...)
}

// copies are descriptors of a server's sockets. A server of another loop is looked at there: its
// loop may be about to close it, and a number that is free again may be another file's. One
// whose loop is stuck is an error soon: the process that asks does not wait for ever.
func (o *Offer) copies(ctx context.Context, name string) (out []*os.File, err error) {
	s := o.servers[name]
	if s.Loop() == o.server.Loop() {
		return duplicates(s, name)
	}
	err = loopnode.Timeout(ctx, o.copying, func(ctx context.Context) (err error) {
		there := loopnode.RunCoroutineThreadsafe(s.Loop().Ref(), "copy the sockets of "+name, func(context.Context) ([]*os.File, error) {
			return duplicates(s, name)
		})
		out, err = loopnode.WrapFuture(ctx, there).Await(ctx)
		return err
	})
	return out, err
}

// copyLimit is how long the loop of a server may take to copy its sockets.
const copyLimit = askLimit / 2

// duplicates are descriptors of a server's sockets. Loop goroutine of the server.
func duplicates(s *transportactors.Server, name string) (out []*os.File, err error) {
	for _, socket := range s.Sockets() {
		fd, err := sock.Duplicate(socket.FD())
		if err != nil {
			for _, f := range out {
				_ = f.Close()
			}
			return nil, err
		}
		out = append(out, os.NewFile(uintptr(fd), name))
	}
	return out, nil
}

// checkPeer refuses another user at the other end, as the kernel knows it.
func checkPeer(t transportactors.Transport) error {
	peer, ok := t.ExtraInfo("peercred").(transportactors.PeerCred)
	if !ok {
		return fmt.Errorf("%w: the kernel does not say who is at the other end", fs.ErrPermission)
	}
	return checkUser(peer.UID, os.Geteuid())
}

// checkUser says whether a process of user own may deal with one of user peer: its own, or root.
func checkUser(peer, own int) error {
	if peer == 0 || peer == own {
		return nil
	}
	return fmt.Errorf("%w: the process at the other end is of user %d, this one of user %d", fs.ErrPermission, peer, own)
}
