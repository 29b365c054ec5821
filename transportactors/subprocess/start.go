package subprocess

import (
	"context"
	"fmt"
	"os"

	"github.com/loopmesh/loopmesh/internal/proc"
	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/transportactors/internal/base"
)

// start starts the child, makes its transport and waits for ConnectionMade.
func start(ctx context.Context, o *options, factory func() Protocol) (*subprocess, error) {
	l, err := base.Home(ctx)
	if err != nil {
		return nil, err
	}
	var e childEnds
	if err := e.open(o); err != nil {
		e.closeAll()
		return nil, err
	}
	child, err := launchIn(ctx, l, o, e.take())
	if child == nil {
		e.closeAll()
		return nil, err
	}
	s := &subprocess{loop: l, child: child, pid: child.PID(), name: o.args[0], info: Info{child.PID(), o.args, o.dir}, group: o.group}
	s.Calls = base.CallsOf(s)
	s.SetContext(l, ctx)
	base.Enter(s)
	if err == nil {
		err = s.attach(&e)
	}
	if err == nil {
		s.proto, err = base.FromFactory(factory, s.abandon)
	}
	if err == nil {
		err = s.announce(ctx)
	}
	if err != nil {
		e.closeAll()
		s.destroy(ctx)
		return nil, err
	}
	return s, nil
}

// childEnds are the descriptors of a start: what the child gets and what stays.
type childEnds struct {
	childFiles
	ours  [3]int
	piped [3]bool // ours is open
	// pipeSize is how many bytes a pipe holds; 0: the system's default.
	pipeSize int
}

// childFiles are the descriptors that the child gets.
type childFiles struct {
	files  []int // by the child's number
	theirs []int // to be closed once the child has them
}

// take hands them to somebody else, who closes them.
func (e *childEnds) take() childFiles {
	g := e.childFiles
	e.childFiles = childFiles{}
	return g
}

func (e *childEnds) open(o *options) error {
	e.pipeSize = o.pipeSize
	e.files = []int{proc.None, proc.None, proc.None}
	for i, s := range o.stdio {
		if err := e.stdio(i, s); err != nil {
			return fmt.Errorf("descriptor %d of the child: %w", i, err)
		}
	}
	for _, f := range o.files {
		if err := e.pass(f); err != nil {
			return fmt.Errorf("passing %s to the child: %w", f.Name(), err)
		}
	}
	return nil
}

func (e *childEnds) stdio(i int, s Stdio) error {
	switch s {
	case Inherit:
		e.files[i] = i
		return nil
	case Stdout:
		e.files[i] = e.files[1]
		return nil
	case Pipe:
		return e.pipe(i)
	case DevNull:
		null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer null.Close()
		_, err = e.give(i, null)
		return err
	}
	_, err := e.give(i, s.(stdioFile).file)
	if err == nil {
		sock.SetBlocking(e.files[i])
	}
	return err
}

// give makes a duplicate of f the child's descriptor i, or its own number when
// i is negative, and returns that.
func (e *childEnds) give(i int, f *os.File) (int, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	fault := raw.Control(func(fd uintptr) {
		copied := proc.None
		if copied, err = sock.Duplicate(int(fd)); err != nil {
			return
		}
		e.theirs = append(e.theirs, copied)
		if i < 0 {
			i = int(fd)
		}
		for len(e.files) <= i {
			e.files = append(e.files, proc.None)
		}
		e.files[i] = copied
	})
	if fault != nil {
		err = fmt.Errorf("%w: %v", os.ErrClosed, fault) // the only reason of Control
	}
	return i, err
}

func (e *childEnds) pass(f *os.File) error {
	i, err := e.give(-1, f)
	if err == nil && i <= 2 {
		return invalid("it is descriptor %d here; say WithStdin, WithStdout or WithStderr for that", i)
	}
	return err
}

func (e *childEnds) pipe(i int) error {
	r, w, err := sock.Pipe()
	if err != nil {
		return err
	}
	ours, theirs := r, w
	if i == 0 {
		ours, theirs = w, r
	}
	e.ours[i], e.piped[i], e.files[i] = ours, true, theirs
	e.theirs = append(e.theirs, theirs)
	if e.pipeSize > 0 {
		if err := sock.SetPipeSize(ours, e.pipeSize); err != nil {
			return fmt.Errorf("a pipe of %d bytes (WithPipeSize): %w", e.pipeSize, err)
		}
	}
	return sock.SetNonblocking(ours)
}

func (g *childFiles) close() {
	for _, fd := range g.theirs {
		_ = sock.Close(fd)
	}
	g.theirs = nil
}

func (e *childEnds) closeAll() {
	e.childFiles.close()
	for i, fd := range e.ours {
		if e.piped[i] {
			_ = sock.Close(fd)
			e.piped[i] = false
		}
	}
}
