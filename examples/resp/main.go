// Command resp is a key-value server that speaks the Redis protocol. The whole
// store is a plain map: every command runs on the loop, so nothing is locked,
// and keys expire by the loop's timers.
//
//	go run ./examples/resp 127.0.0.1:6380
//	redis-cli -p 6380 set greeting hello ex 60
//	redis-benchmark -p 6380 -t set,get -P 16 -q
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
	"github.com/loopmesh/loopmesh/transportactors/framing"
)

func main() {
	at := "127.0.0.1:6380"
	switch len(os.Args) {
	case 1:
	case 2:
		at = os.Args[1]
	default:
		fmt.Fprintln(os.Stderr, "usage: resp [host:port]")
		os.Exit(2)
	}
	if err := run(context.Background(), at, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "resp:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends or the program is interrupted.
func run(ctx context.Context, at string, out io.Writer) error {
	err := loopnode.Run(ctx, func(ctx context.Context) error {
		loop, err := loopnode.Running(ctx)
		if err != nil {
			return err
		}
		db := newStore(loop)
		s, err := transportactors.CreateServer(ctx, func() transportactors.Protocol { return newClient(db) }, "tcp", at, transportactors.WithBacklog(1024))
		if err != nil {
			return err
		}
		defer s.AbortClients()
		defer s.Close()
		fmt.Fprintln(out, "listening on", s.Addrs()[0])
		return loopnode.WaitDone(ctx) // ServeForever would wait for the clients to leave
	})
	if errors.Is(err, loopnode.ErrCancelled) || errors.Is(err, loopnode.ErrInterrupted) {
		return nil
	}
	return err
}

// client is one connection. A client that does not read its replies is not served
// until it does: PauseWriting comes out of Write when the high mark is passed, and
// from then on no command runs, so the replies that wait are bounded by the high
// mark and one reply. Owned by the loop.
type client struct {
	db      *store
	t       transportactors.Transport
	parser  parser
	in      *framing.Buffer // of commands
	replies []byte          // not written yet
	paused  bool            // the client reads too slowly
	eof     bool            // no more commands will come
	leaving bool            // the connection closes when the replies are written
}

func newClient(db *store) *client {
	c := &client{db: db}
	c.in = framing.New(c.parser.split, maxCommand)
	return c
}

func (c *client) ConnectionMade(t transportactors.Transport) { c.t = t }
func (c *client) ConnectionLost(error)                       {}

// PauseWriting stops the commands, too: work looks at paused, and no more input comes.
func (c *client) PauseWriting() {
	c.paused = true
	_ = c.t.PauseReading() // a closing transport has told ConnectionLost, or will
}

// ResumeWriting goes on with the commands that have come already.
func (c *client) ResumeWriting() {
	c.paused = false
	c.work(nil)
	switch {
	case c.paused || c.leaving:
	case c.eof:
		c.t.Close()
	default:
		_ = c.t.ResumeReading()
	}
}

// EOFReceived keeps the connection until what was asked is answered.
func (c *client) EOFReceived() (keepOpen bool) {
	c.eof = true
	return c.paused
}

// DataReceived runs every command that is whole and answers all of them with
// few writes: a client that pipelines costs one system call each way.
func (c *client) DataReceived(data []byte) { c.work(data) }

// work runs the commands that are whole, as long as the client takes the replies. It
// leaves the others in the buffer, and reading is paused until it goes on.
func (c *client) work(data []byte) {
	for command, err := range c.in.Packets(data) {
		if err != nil {
			c.replies = appendError(c.replies, "Protocol error: "+err.Error())
			c.leaving = true
			break
		}
		args := c.parser.args(command)
		if len(args) == 0 {
			continue // an empty line
		}
		c.replies = c.db.do(c.replies, args)
		c.leaving = is(args[0], "QUIT")
		if len(c.replies) >= flushAt {
			c.flush()
		}
		if c.paused || c.leaving {
			break
		}
	}
	c.flush()
	if c.leaving {
		c.t.Close()
	}
}

func (c *client) flush() {
	if len(c.replies) == 0 {
		return
	}
	_ = c.t.Write(c.replies) // a closed transport has told ConnectionLost
	if c.replies = c.replies[:0]; cap(c.replies) > maxKept {
		c.replies = nil // the memory of a large reply
	}
}
