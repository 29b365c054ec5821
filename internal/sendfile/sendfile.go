// Package sendfile moves a part of a file to a socket in bounded pieces: by the
// kernel without a copy, or by reading for those who send themselves. It keeps
// the count and, at the end, sets the file's position. Nothing in it waits for
// the socket.
package sendfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"

	"github.com/loopmesh/loopmesh/internal/sock"
)

// Source is what can be sent: it is read at given places, so that reading
// aside does not move its position.
type Source interface {
	io.ReaderAt
	io.Seeker
}

// MaxPiece is what one turn of a loop may spend on one file, in bytes.
const MaxPiece = 1 << 20

// ErrNotAvailable: the kernel cannot send this file to this socket.
var ErrNotAvailable = errors.New("the kernel cannot send this")

// Job is one part of a file on its way. It belongs to one goroutine, except
// Read.
type Job struct {
	file   Source
	raw    syscall.RawConn // of a regular file, nil otherwise
	offset int64           // where the next byte is
	left   int64           // Invariant: > 0 until everything asked for is sent
	sent   int64
}

// New checks what was asked for before a byte moves. The error says what is wrong.
func New(file Source, offset, count int64) (*Job, error) {
	switch {
	case file == nil:
		return nil, errors.New("sendfile needs a file, not nil")
	case offset < 0:
		return nil, fmt.Errorf("sendfile: the offset must be a non-negative integer, got %d", offset)
	case count <= 0:
		return nil, fmt.Errorf("sendfile: the count must be a positive integer, got %d", count)
	}
	j := &Job{file: file, offset: offset, left: count}
	f, ok := file.(fs.File)
	if !ok {
		return j, nil
	}
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("sendfile: %w", err)
	case info.Mode()&(fs.ModeDir|fs.ModeNamedPipe|fs.ModeSocket) != 0:
		return nil, fmt.Errorf("sendfile needs a regular file, got %s %q", kind(info.Mode()), info.Name())
	case !info.Mode().IsRegular():
		return j, nil
	}
	if c, ok := file.(syscall.Conn); ok {
		j.raw, _ = c.SyscallConn()
	}
	return j, nil
}

func kind(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "directory"
	case m&fs.ModeNamedPipe != 0:
		return "pipe"
	}
	return "socket"
}

// Sent is how many bytes have gone.
func (j *Job) Sent() int64 { return j.sent }

// Native reports whether the kernel may be able to send it.
func (j *Job) Native() bool { return j.raw != nil }

// Done reports whether everything asked for has gone; the file may end sooner.
func (j *Job) Done() bool { return j.left == 0 }

// Turn hands to the kernel, for the socket out, what one turn may spend: up to
// MaxPiece bytes. done: all has gone that was asked for or is there. Errors:
// ErrNotAvailable, with the cause, when the file has no descriptor or the very
// first call fails; otherwise the kernel's, of which would-block is one.
func (j *Job) Turn(out int) (done bool, err error) {
	for spent := 0; spent < MaxPiece; {
		n, err := j.push(out, MaxPiece-spent)
		if err != nil {
			return false, err
		}
		if n == 0 || j.left == 0 {
			return true, nil
		}
		spent += n
	}
	return false, nil
}

func (j *Job) push(out, most int) (n int, err error) {
	if j.raw == nil {
		return 0, fmt.Errorf("%w: not a regular file", ErrNotAvailable)
	}
	var failed error
	err = j.raw.Control(func(in uintptr) {
		n, failed = sock.Sendfile(out, int(in), j.offset, int(min(j.left, int64(most))))
	})
	if err == nil {
		err = failed
	}
	switch {
	case err == nil:
		j.Advance(n)
		return n, nil
	case j.sent == 0 && !sock.WouldBlock(err):
		return 0, fmt.Errorf("%w: %w", ErrNotAvailable, err)
	}
	return 0, err
}

// Read reads the next piece into buf for who sends it with other means and then
// calls Advance; 0 and nil is the end of the file. Any goroutine, one at a time.
func (j *Job) Read(buf []byte) (int, error) {
	n, err := j.file.ReadAt(buf[:min(int64(len(buf)), j.left)], j.offset)
	switch {
	case n > 0, errors.Is(err, io.EOF):
		return n, nil // a failure behind n bytes shows again at its own place
	case err != nil:
		return 0, fmt.Errorf("reading the file: %w", err)
	}
	return n, nil
}

// Advance counts n bytes as sent.
func (j *Job) Advance(n int) {
	j.offset += int64(n)
	j.left -= int64(n)
	j.sent += int64(n)
}

// Finish sets the file's position behind the last byte that was sent; without
// one it stays.
func (j *Job) Finish() error {
	if j.sent == 0 {
		return nil
	}
	_, err := j.file.Seek(j.offset, io.SeekStart)
	return err
}

// Options is what a caller says about sending a file.
type Options struct{ noFallback bool }

// Option changes how a file is sent.
type Option func(*Options)

// WithoutFallback forbids reading and writing where the kernel cannot send.
func WithoutFallback(o *Options) { o.noFallback = true }

// Without reports whether opts forbid the fallback.
func Without(opts []Option) bool {
	var o Options
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	return o.noFallback
}
