package main

import (
	"bytes"
	"context"
	"os"
	"slices"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

const maxUnread = 1 << 20 // of requests that wait for their turn, in bytes

// conn is one connection. Requests that arrive while an answer is under way wait
// in unread, so answers keep the order of the requests.
type conn struct {
	ctx     context.Context
	root    *os.Root
	t       transportactors.Transport
	unread  []byte
	skip    int    // bytes of a body nobody wants, still to come
	busy    bool   // a task writes the answer
	paused  bool   // the client reads too slowly
	eof     bool   // no more requests will come
	answers []byte // written together: a client that pipelines costs one call
}

func (c *conn) ConnectionMade(t transportactors.Transport) { c.t = t }
func (c *conn) ConnectionLost(error)                       {}

// EOFReceived keeps the connection until what was asked is answered.
func (c *conn) EOFReceived() (keepOpen bool) {
	c.eof = true
	return c.busy
}

func (c *conn) PauseWriting()  { c.paused = true; _ = c.t.PauseReading() }
func (c *conn) ResumeWriting() { c.paused = false; c.next() }

func (c *conn) DataReceived(b []byte) {
	if c.busy || c.paused || len(c.unread) > 0 {
		c.unread = append(c.unread, b...)
		if len(c.unread) > maxUnread {
			_ = c.t.PauseReading()
		}
		if c.busy || c.paused {
			return
		}
		b = nil
	}
	c.serve(b)
}

// next goes on with what waited.
func (c *conn) next() {
	c.serve(nil)
	switch {
	case c.busy || c.paused || c.t.IsClosing():
	case c.eof:
		c.t.Close()
	default:
		_ = c.t.ResumeReading()
	}
}

// serve answers every request that is whole, first those in unread. b is lent.
func (c *conn) serve(b []byte) {
	rest, lent := b, len(c.unread) == 0
	if !lent {
		rest = c.unread
	}
	for len(rest) > 0 && !c.busy && !c.paused && !c.t.IsClosing() {
		if n := min(c.skip, len(rest)); n > 0 {
			rest, c.skip = rest[n:], c.skip-n
			continue
		}
		r, n, bad := parse(rest)
		if bad != nil {
			c.answers = append(c.answers, bad.answer()...)
			c.flush()
			c.t.Close()
			return
		}
		if n == 0 {
			break
		}
		rest, c.skip = rest[n:], r.body
		c.handle(r)
	}
	switch {
	case len(rest) == 0:
		c.unread = nil
	case lent:
		c.unread = slices.Clone(rest)
	default: // no copy: a file for each of 30,000 requests would copy all that wait each time
		c.unread = rest
	}
	c.flush()
}

func (c *conn) flush() {
	if len(c.answers) > 0 {
		_ = c.t.Write(c.answers) // a closed transport has told ConnectionLost
		c.answers = c.answers[:0]
	}
}

// handle answers one request, at once or by a task.
func (c *conn) handle(r request) {
	switch path, isFile := bytes.CutPrefix(r.path, []byte("/files/")); {
	case !r.reads():
		c.answer(r, "405 Method Not Allowed", "only GET and HEAD\n")
	case string(r.path) == "/hello":
		c.answer(r, "200 OK", "hello, world\n")
	case isFile:
		c.busy = true
		c.flush()
		r.path = bytes.Clone(path) // the task outlives the buffer
		loopnode.CreateTask(c.ctx, "file", func(ctx context.Context) (struct{}, error) {
			defer c.done(r)
			return struct{}{}, c.sendFile(ctx, r)
		})
	default:
		c.answer(r, "404 Not Found", "try /hello or /files/NAME\n")
	}
}

// done goes on with the requests behind one that a task has answered.
func (c *conn) done(r request) {
	c.busy = false
	if !r.keep {
		c.t.Close()
		return
	}
	c.next()
}

func (c *conn) answer(r request, status, text string) {
	c.answers = appendHead(c.answers, r, status, "text/plain; charset=utf-8", int64(len(text)))
	if !r.head {
		c.answers = append(c.answers, text...)
	}
	if !r.keep {
		c.flush()
		c.t.Close()
	}
}
