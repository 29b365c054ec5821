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
	"time"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

func main() {
	at := "127.0.0.1:6380"
	if len(os.Args) == 2 {
		at = os.Args[1]
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
		s, err := transportactors.CreateServer(ctx, func() transportactors.Protocol { return &client{db: db} }, "tcp", at, transportactors.WithBacklog(1024))
		if err != nil {
			return err
		}
		defer s.AbortClients()
		defer s.Close()
		fmt.Fprintln(out, "listening on", s.Addrs()[0])
		return loopnode.Sleep(ctx, 1000*time.Hour) // ServeForever would wait for the clients to leave
	})
	if errors.Is(err, loopnode.ErrCancelled) || errors.Is(err, loopnode.ErrInterrupted) {
		return nil
	}
	return err
}

// client is one connection.
type client struct {
	db      *store
	t       transportactors.Transport
	unread  []byte // the beginning of a command that has not come whole
	replies []byte // of one DataReceived, written at once
}

func (c *client) ConnectionMade(t transportactors.Transport) { c.t = t }
func (c *client) PauseWriting()                              { _ = c.t.PauseReading() }
func (c *client) ResumeWriting()                             { _ = c.t.ResumeReading() }
func (c *client) ConnectionLost(error)                       {}

// DataReceived runs every command that is whole and answers all of them with
// one write: a client that pipelines costs one system call each way.
func (c *client) DataReceived(data []byte) {
	rest := data
	if len(c.unread) > 0 {
		c.unread = append(c.unread, data...)
		rest = c.unread
	}
	if len(rest) > maxCommand {
		c.refuse(errors.New("too big a command"))
		return
	}
	for len(rest) > 0 {
		args, n, err := parse(rest)
		if err != nil {
			c.refuse(err)
			return
		}
		if n == 0 {
			break
		}
		rest = rest[n:]
		if len(args) == 0 {
			continue // an empty line
		}
		c.replies = c.db.do(c.replies, args)
		if is(args[0], "QUIT") {
			c.flush()
			c.t.Close()
			return
		}
	}
	c.unread = append(c.unread[:0], rest...)
	c.flush()
}

func (c *client) refuse(err error) {
	c.replies = appendError(c.replies, "Protocol error: "+err.Error())
	c.flush()
	c.t.Close()
}

func (c *client) flush() {
	_ = c.t.Write(c.replies) // a closed transport has told ConnectionLost
	c.replies = c.replies[:0]
}
