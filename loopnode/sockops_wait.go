package loopnode

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/loopmesh/loopmesh/internal/sock"
)

// side is one direction of one descriptor. One operation at a time may wait in it.
type side struct {
	fd    int
	write bool
}

func (s side) String() string {
	if s.write {
		return fmt.Sprintf("the writing side of descriptor %d", s.fd)
	}
	return fmt.Sprintf("the reading side of descriptor %d", s.fd)
}

// sockOp is a socket operation that had to wait. Owned by the loop goroutine.
//
// Why a duplicate: the caller may close its descriptor, and the number may be
// another file the moment after. The duplicate stays the file that was meant,
// and the caller's own AddReader of the other direction stays undisturbed.
type sockOp struct {
	loop  *Loop
	task  *task
	side  side
	fd    int  // the caller's until the task gives way for the first time, then the duplicate
	own   bool // fd is the duplicate: release closes it
	watch *watch
	ready *Future[struct{}] // what the task waits for
	gone  bool              // released, by its task or by a successor
}

// onSocket runs one operation: try at once, and again each time the descriptor
// may be ready, until it says something else than would-block.
func onSocket[T any](ctx context.Context, s side, try func(fd int) (T, error)) (T, error) {
	return asTask(ctx, func(ctx context.Context) (v T, err error) {
		t := taskOf(ctx)
		if err := t.loop.usable(s); err != nil {
			return v, err
		}
		v, err = try(s.fd)
		if !sock.WouldBlock(err) {
			return v, err
		}
		op := t.loop.hold(t, s)
		defer op.release()
		for {
			if err := op.wait(ctx); err != nil {
				return v, err
			}
			if v, err = try(op.fd); !sock.WouldBlock(err) {
				return v, err
			}
		}
	})
}

// usable tells whether an operation may start in s.
func (l *Loop) usable(s side) error {
	switch {
	case l.closed.Load():
		return closedError(l)
	case s.fd < 0:
		return invalid("descriptor %d is negative", s.fd)
	}
	if err := isSocket(s.fd); err != nil {
		return err
	}
	ok, err := sock.IsNonblocking(s.fd)
	switch {
	case err != nil:
		return err
	case !ok:
		return invalid("descriptor %d blocks and would stop the loop: make it with SOCK_NONBLOCK, or call syscall.SetNonblock", s.fd)
	}
	if err := l.watched(s.fd); err != nil {
		return err
	}
	if e := l.watches[s.fd]; e != nil && (s.write && e.writer != nil || !s.write && e.reader != nil) {
		return fmt.Errorf("%w: %s is watched with AddReader or AddWriter; remove that first", ErrBusy, s)
	}
	return l.unheld(s)
}

// isSocket refuses a descriptor that is closed or is no socket.
//
// Why: sock.Read and sock.Write are read(2) and write(2), which take any file. A
// read of a regular file never answers would-block: it waits for the disk, and
// the loop with it. A pipe would be taken by some operations and not by others.
func isSocket(fd int) error {
	_, err := sock.Type(fd)
	switch {
	case errors.Is(err, syscall.EBADF):
		return fmt.Errorf("descriptor %d is not open: %w", fd, err)
	case errors.Is(err, syscall.ENOTSOCK):
		return fmt.Errorf("descriptor %d is a file or a pipe, not a socket: %w; use transportactors.ConnectReadPipe or ConnectWritePipe for a pipe, and RunInExecutor for a file", fd, err)
	case err != nil:
		return fmt.Errorf("descriptor %d: %w", fd, err)
	}
	return nil
}

// unheld tells whether no operation waits in s. One that was cancelled and has
// not noticed yet gives way, as does one whose descriptor was closed.
func (l *Loop) unheld(s side) error {
	op := l.sockOps[s]
	switch {
	case op == nil:
		return nil
	case op.leaving():
		op.release()
		return nil
	case !sock.Same(s.fd, op.fd):
		delete(l.sockOps, s) // the number is another socket now; the operation goes on with its own
		return nil
	}
	return fmt.Errorf("%w: another operation waits on %s", ErrBusy, s)
}

// hold reserves s until release.
func (l *Loop) hold(t *task, s side) *sockOp {
	op := &sockOp{loop: l, task: t, side: s, fd: s.fd}
	if l.sockOps == nil {
		l.sockOps = map[side]*sockOp{}
	}
	l.sockOps[s] = op
	return op
}

// keep makes the duplicate: from here on others run.
func (o *sockOp) keep() error {
	if o.own {
		return nil
	}
	fd, err := sock.Duplicate(o.side.fd)
	if err != nil {
		return fmt.Errorf("waiting on %s needs a duplicate of it: %w", o.side, err)
	}
	o.fd, o.own = fd, true
	return nil
}

// leaving reports whether the operation's task was told to end it.
func (o *sockOp) leaving() bool {
	return o.ready != nil && o.ready.Cancelled() || o.task.mustCancel || o.task.thrown != nil
}

// wait suspends the task until the descriptor may be ready.
func (o *sockOp) wait(ctx context.Context) error {
	if err := o.keep(); err != nil {
		return err
	}
	o.ready = NewFuture[struct{}](o.loop)
	if o.watch == nil {
		want := Readable
		if o.side.write {
			want = Writable
		}
		w, err := o.loop.newWatch(o.fd, want, o.wake, o.wake)
		if err != nil {
			return watchError(o.side.fd, err)
		}
		o.watch = w
	}
	if _, err := o.ready.Await(ctx); err != nil {
		return err
	}
	if o.gone {
		return o.taken()
	}
	return nil
}

func (o *sockOp) taken() error {
	return fmt.Errorf("%w: another operation took %s over after this one was cancelled", ErrBusy, o.side)
}

func (o *sockOp) wake() {
	if !o.ready.Done() {
		_ = o.ready.SetResult(struct{}{})
	}
}

// release gives the side back. Repeating it does nothing.
func (o *sockOp) release() {
	if o.gone {
		return
	}
	o.gone = true
	if o.loop.sockOps[o.side] == o {
		delete(o.loop.sockOps, o.side)
	}
	if o.watch != nil {
		o.watch.Close()
	}
	if o.own {
		_ = sock.Close(o.fd)
	}
}

// letGo is how long a goroutine whose ctx has ended waits for the loop to take
// its hands off the descriptor.
const letGo = 5 * time.Second

// asTask runs fn in ctx's task; for a goroutine without one, in a task of its
// own that ends with ctx. What fn returns beside an error is kept.
func asTask[T any](ctx context.Context, fn func(context.Context) (T, error)) (v T, err error) {
	if t := taskOf(ctx); t != nil {
		if err := t.owned(); err != nil {
			return v, err
		}
		return fn(ctx)
	}
	if onLoop() {
		return v, fmt.Errorf("%w: socket operations need a task", ErrWouldBlock)
	}
	var got T
	k := CreateTask(ctx, "socket operation", func(ctx context.Context) (struct{}, error) {
		var err error
		got, err = fn(ctx)
		return struct{}{}, err
	})
	_, err = k.Await(ctx)
	if k.loop != nil && ctx.Err() != nil {
		limit, stop := context.WithTimeout(context.WithoutCancel(ctx), letGo)
		defer stop()
		if _, err = k.Await(limit); errors.Is(err, ErrTimeout) && limit.Err() != nil {
			return v, contextError(ctx) // the loop does not run
		}
		if errors.Is(err, ErrCancelled) {
			err = contextError(ctx)
		}
	}
	if errors.Is(err, ErrLoopClosed) {
		return v, err
	}
	return got, err
}
