package transportactors

import (
	"context"
	"errors"
	"fmt"

	"github.com/loopmesh/loopmesh/internal/sendfile"
	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/loopnode"
)

// sending is a file that the kernel sends for a conn. Owned by the loop goroutine.
type sending struct {
	job     *sendfile.Job
	outcome *loopnode.Future[error] // nil for a file that has gone
}

func (s *sending) settle(err error) {
	if !s.outcome.Done() {
		_ = s.outcome.SetResult(err)
	}
}

// sendfile sends what job says behind the queue and waits for it.
func (c *conn) sendfile(ctx context.Context, job *sendfile.Job) error {
	s := &sending{job, loopnode.NewFuture[error](c.loop)}
	c.file = s
	c.updateWatch()
	if c.queue.size == 0 {
		c.sendFile()
	}
	failed, err := s.outcome.Await(ctx)
	if err != nil { // the task's end, not the file's
		if c.file == s {
			c.fileEnded()
		}
		return err
	}
	return failed
}

// sendFile sends what this turn may. The queue is empty.
func (c *conn) sendFile() {
	s := c.file
	if s == nil || c.state >= stateLosing {
		return
	}
	before := s.job.Sent()
	done, err := s.job.Turn(c.socket.FD())
	if sent := s.job.Sent() - before; sent > 0 {
		c.idle.moved = true
		c.socket.out += uint64(sent)
	}
	switch {
	case done, errors.Is(err, sendfile.ErrNotAvailable):
		s.settle(err)
		c.fileEnded()
	case err != nil && !sock.WouldBlock(err):
		s.settle(fmt.Errorf("%w while a file was sent: %w", ErrClosed, err))
		c.file = nil // what has arrived may be read
		c.sendFailed(err)
	}
}

// fileEnded makes the connection what it was before.
func (c *conn) fileEnded() {
	c.file = nil
	c.updateWatch()
	if c.state < stateLosing {
		c.checkLow()
	}
}

// fileLost ends the file with the connection.
func (c *conn) fileLost() {
	s := c.file
	if s == nil {
		return
	}
	c.file = nil
	err := fmt.Errorf("%w while a file was sent", ErrClosed)
	if c.reason != nil {
		err = fmt.Errorf("%w: %w", err, c.reason)
	}
	s.settle(err)
}
