package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/loopmesh/loopmesh/transportactors/subprocess"
)

func TestGoldenSubprocess(t *testing.T) {
	t.Run("the order of what a child tells, exit codes, signals", func(t *testing.T) {
		golden(t, "g24_subprocess", func(t *testing.T, say func(...any)) {
			sideParts(t, say, childCat, childSignals, childShell, childMissing)
		})
	})
}

// child is golden/g24_subprocess.py's protocol: each pipe is a party.
type child struct {
	t       subprocess.Transport
	process *party
	pipes   [3]*party
	over    int
}

func newChild() *child {
	return &child{process: &party{name: "process"}, pipes: [3]*party{{name: "stdin"}, {name: "stdout"}, {name: "stderr"}}}
}

func (c *child) ConnectionMade(t subprocess.Transport) {
	c.t = t
	c.process.say("connection_made")
}

func (c *child) PipeDataReceived(fd int, b []byte) { c.pipes[fd].data(bytes.TrimSpace(b)) }

func (c *child) PipeConnectionLost(fd int, reason error) {
	c.pipes[fd].say("lost", why(reason))
	c.over++
}

func (c *child) ProcessExited() {
	code, _ := c.t.Returncode()
	c.process.say("process_exited", code)
}

func (c *child) ConnectionLost(reason error) {
	c.process.say("connection_lost", why(reason), "pipes that have ended:", c.over)
}

func (c *child) end(ctx context.Context, pipes int) error {
	return c.process.until(ctx, fmt.Sprint("connection_lost None pipes that have ended: ", pipes))
}

func (c *child) lost(ctx context.Context, say func(...any), part string, pipes int) error {
	err := c.end(ctx, pipes)
	tell(say, part, c.process, c.pipes[0], c.pipes[1], c.pipes[2])
	c.t.Close()
	return err
}

func execCat(ctx context.Context) (*child, error) {
	_, c, err := subprocess.ExecProtocol(ctx, newChild, []string{"/bin/cat"})
	return c, err
}

func shell(ctx context.Context, command string, opts ...subprocess.Option) (*child, error) {
	_, c, err := subprocess.ShellProtocol(ctx, newChild, command, opts...)
	return c, err
}

func childCat(ctx context.Context, say func(...any)) error {
	c, err := execCat(ctx)
	if err != nil {
		return err
	}
	c.process.say("has a number:", pythonBool(c.t.PID() > 0))
	in := c.t.PipeTransport(0)
	err = errors.Join(in.Write([]byte("hello")), c.pipes[1].until(ctx, "data hello"),
		in.Write([]byte("_again")), in.WriteEOF(), c.process.until(ctx, "process_exited 0"), c.end(ctx, 3))
	refused(c.process, c.t.SendSignal(syscall.SIGTERM), subprocess.ErrProcessLookup, "no signal for the dead")
	c.t.Close()
	return errors.Join(err, c.lost(ctx, say, "cat", 3))
}

func childSignals(ctx context.Context, say func(...any)) error {
	for _, end := range []struct {
		part string
		how  func(*child) error
	}{
		{"killed", func(c *child) error { return c.t.Kill() }},
		{"terminated", func(c *child) error { return c.t.Terminate() }},
		{"closed while it runs", func(c *child) error { c.t.Close(); return nil }},
	} {
		c, err := execCat(ctx)
		if err != nil {
			return err
		}
		if err := errors.Join(end.how(c), c.lost(ctx, say, end.part, 3)); err != nil {
			return err
		}
	}
	return nil
}

func childShell(ctx context.Context, say func(...any)) error {
	null := subprocess.WithStdin(subprocess.DevNull)
	c, err := shell(ctx, "echo out; echo err >&2; exit 7", null)
	if err != nil {
		return err
	}
	if err := c.lost(ctx, say, "a shell's exit code", 2); err != nil {
		return err
	}
	c, err = shell(ctx, "printf out; printf err >&2", null, subprocess.WithStderr(subprocess.Stdout))
	if err != nil {
		return err
	}
	return c.lost(ctx, say, "one pipe for both", 1)
}

func childMissing(ctx context.Context, say func(...any)) error {
	c, err := shell(ctx, "no-such-program-here 2>/dev/null")
	if err != nil {
		return err
	}
	err = c.lost(ctx, say, "what the shell does not find", 3)
	nobody := &party{name: "nobody"}
	_, _, failed := subprocess.ExecProtocol(ctx, newChild, []string{"/nowhere/at/all"})
	nobody.say(why(failed))
	tell(say, "no such program", nobody)
	return err
}
