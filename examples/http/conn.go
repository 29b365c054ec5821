package main

import (
	"bytes"
	"context"
	"os"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
	"github.com/loopmesh/loopmesh/transportactors/framing"
)

// conn is one connection. While an answer is under way, or the client reads too
// slowly, the requests that have come wait in the buffer and reading is paused, so
// answers keep the order of the requests and the kernel holds what comes.
type conn struct {
	ctx     context.Context
	root    *os.Root
	t       transportactors.Transport
	in      *framing.Buffer // of the heads of requests
	skip    int             // bytes of a body nobody wants, still to come
	busy    bool            // a task writes the answer
	paused  bool            // the client reads too slowly
	answers []byte          // written together: a client that pipelines costs one call
}

func newConn(ctx context.Context, root *os.Root) *conn {
	c := &conn{ctx: ctx, root: root}
	c.in = framing.New(c.split, maxHead)
	return c
}

func (c *conn) ConnectionMade(t transportactors.Transport) { c.t = t }
func (c *conn) ConnectionLost(error)                       {}

func (c *conn) PauseWriting()         { c.paused = true; _ = c.t.PauseReading() }
func (c *conn) ResumeWriting()        { c.paused = false; c.next() }
func (c *conn) DataReceived(b []byte) { c.serve(b) }

// next goes on with the requests that wait.
func (c *conn) next() {
	if c.busy || c.paused { // the other one goes on
		return
	}
	if c.serve(nil); !c.busy && !c.paused {
		_ = c.t.ResumeReading() // does nothing on a connection that is closing
	}
}

// serve answers the requests that are whole, until one has to wait.
func (c *conn) serve(b []byte) {
	for head, err := range c.in.Packets(b) {
		r, bad := request{}, headTooLong
		if err == nil {
			r, bad = parse(head)
		}
		if bad != nil {
			c.answers = append(c.answers, bad.answer()...)
			c.flush()
			c.t.Close()
			return
		}
		c.skip = r.body
		c.handle(r)
		if c.busy || c.paused || c.t.IsClosing() {
			break
		}
	}
	c.flush()
}

// split is a bufio.SplitFunc: its packets are the heads of requests, blank line
// included, and it leaves out bodies.
func (c *conn) split(data []byte, _ bool) (advance int, head []byte, err error) {
	if n := min(c.skip, len(data)); n > 0 {
		c.skip -= n
		return n, nil, nil
	}
	end := bytes.Index(data, blankLine)
	if end < 0 {
		return 0, nil, nil // the buffer refuses a head above its limit
	}
	end += len(blankLine)
	return end, data[:end:end], nil
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
		_ = c.t.PauseReading()
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
