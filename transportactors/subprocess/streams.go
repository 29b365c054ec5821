package subprocess

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
	"github.com/loopmesh/loopmesh/transportactors/internal/base"
)

// Process is a child process for code that waits. Its methods belong to the
// tasks of its loop. asyncio.subprocess.Process.
type Process struct {
	// Stdin, Stdout and Stderr are streams of the task that started the child
	// (Stream.With gives them to another); nil for what is not a pipe. Close
	// Stdin to let the child see its end.
	Stdin, Stdout, Stderr *transportactors.Stream

	s    *subprocess
	most int
}

// ExecProcess is ExecProtocol for a Process; same waiting, options
// and errors. stdin, stdout and stderr are inherited unless options say
// otherwise. asyncio.create_subprocess_exec.
func ExecProcess(ctx context.Context, args []string, opts ...Option) (*Process, error) {
	inherit := func(o *options) { o.stdio = [3]Stdio{Inherit, Inherit, Inherit} }
	o, err := collect(args, append([]Option{inherit}, opts...))
	if err != nil {
		return nil, err
	}
	p := &processProtocol{limit: o.limit}
	s, err := start(ctx, o, func() Protocol { return p })
	if err != nil {
		return nil, err
	}
	stream := func(i int) *transportactors.Stream {
		if p.streams[i] == nil {
			return nil
		}
		return p.streams[i].Stream(ctx)
	}
	return &Process{Stdin: stream(0), Stdout: stream(1), Stderr: stream(2), s: s, most: o.most}, nil
}

// ShellProcess is ExecProcess of /bin/sh -c command; see
// ShellProtocol. asyncio.create_subprocess_shell.
func ShellProcess(ctx context.Context, command string, opts ...Option) (*Process, error) {
	return ExecProcess(ctx, shell(command), opts...)
}

// PID is the child's number; see Transport.
func (p *Process) PID() int { return p.s.pid }

// Returncode is the exit code, or -N when signal N killed the child. ended is
// false while it runs.
func (p *Process) Returncode() (code int, ended bool) { return p.s.Returncode() }

// SendSignal is Transport.SendSignal, as are Terminate and Kill.
func (p *Process) SendSignal(sig syscall.Signal) error { return p.s.SendSignal(sig) }

// Terminate sends SIGTERM.
func (p *Process) Terminate() error { return p.s.Terminate() }

// Kill sends SIGKILL.
func (p *Process) Kill() error { return p.s.Kill() }

// Close closes the pipes and kills the child if it runs. It does not wait; Wait
// does.
func (p *Process) Close() { p.s.Close() }

// Transport is the transport under the process.
func (p *Process) Transport() Transport { return p.s }

// Wait waits until the child has ended and returns its code, as Returncode; a
// grandchild that holds a pipe does not matter. Any number of tasks may wait;
// ending a wait does nothing to the child. A child that fills a pipe nobody
// reads does not end: read it, or use Communicate.
func (p *Process) Wait(ctx context.Context) (int, error) { return p.s.wait(ctx) }

// Communicate writes input to the child's stdin and closes it, reads stdout and
// stderr to their ends, and waits for the exit; nil for what is not a pipe. That
// the child takes less than input is no error. Input without a pipe for it is
// loopnode.ErrInvalidArgument; more output than WithMaxOutput is
// ErrTooMuchOutput. With every error, also of a cancellation or the end of ctx, it
// returns what it had read until then: those bytes are taken from the streams, so
// that another call does not return them again. The child is still the caller's:
// Close ends it.
func (p *Process) Communicate(ctx context.Context, input []byte) (stdout, stderr []byte, err error) {
	if err := base.RequireContext(ctx, "Communicate"); err != nil {
		return nil, nil, err
	}
	if p.Stdin == nil && len(input) > 0 {
		return nil, nil, invalid("there is input, but stdin of process %d is not a pipe", p.PID())
	}
	var failed error // Why: the plain error, not the group's, is what the caller compares
	note := func(err error) error {
		if err != nil && failed == nil {
			failed = err
		}
		return err
	}
	err = loopnode.WithTaskGroup(ctx, func(ctx context.Context, g *loopnode.TaskGroup) error {
		for _, part := range []struct {
			name string
			s    *transportactors.Stream
			out  *[]byte
		}{{"stdin", p.Stdin, nil}, {"stdout", p.Stdout, &stdout}, {"stderr", p.Stderr, &stderr}} {
			switch {
			case part.s == nil:
			case part.out == nil:
				g.Go(part.name, func(ctx context.Context) error { return note(writeAll(part.s.With(ctx), input)) })
			default:
				g.Go(part.name, func(ctx context.Context) error {
					return note(readAll(part.s.With(ctx), part.out, p.most))
				})
			}
		}
		return nil
	})
	var group *loopnode.GroupError
	if errors.As(err, &group) && failed != nil {
		err = failed
	}
	if err == nil {
		_, err = p.Wait(ctx)
	}
	return stdout, stderr, err
}

// writeAll writes input and closes s. It is no error that the child does not
// read all of it.
func writeAll(s *transportactors.Stream, input []byte) error {
	_, err := s.Write(input)
	if cerr := s.Close(); err == nil {
		err = cerr
	}
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, transportactors.ErrClosed) {
		return nil
	}
	return err
}

// readAll reads s to its end, at most limit bytes.
func readAll(s *transportactors.Stream, out *[]byte, limit int) error {
	*out = []byte{}
	for {
		if len(*out) == cap(*out) {
			*out = append(*out, 0)[:len(*out)]
		}
		n, err := s.Read((*out)[len(*out):cap(*out)])
		*out = (*out)[:len(*out)+n]
		switch {
		case len(*out) > limit:
			*out = (*out)[:limit]
			return fmt.Errorf("%w: more than %d bytes; read the stream instead, or raise WithMaxOutput", ErrTooMuchOutput, limit)
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// processProtocol gives each pipe of a Process to its stream.
type processProtocol struct {
	BaseProtocol
	limit   int
	streams [3]*transportactors.StreamProtocol
}

func (p *processProtocol) ConnectionMade(t Transport) {
	for i := range p.streams {
		if c := t.PipeTransport(i); c != nil {
			p.streams[i] = &transportactors.StreamProtocol{Limit: p.limit}
			p.streams[i].ConnectionMade(c)
		}
	}
}

func (p *processProtocol) PipeDataReceived(fd int, data []byte) { p.streams[fd].DataReceived(data) }

func (p *processProtocol) PipeConnectionLost(fd int, reason error) {
	p.streams[fd].ConnectionLost(reason)
}

func (p *processProtocol) PauseWriting()  { p.streams[0].PauseWriting() }
func (p *processProtocol) ResumeWriting() { p.streams[0].ResumeWriting() }
