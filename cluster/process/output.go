package process

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/loopmesh/loopmesh/cluster/internal/fault"
	"github.com/loopmesh/loopmesh/cluster/internal/wait"
	"github.com/loopmesh/loopmesh/internal/wire"
	"github.com/loopmesh/loopmesh/transportactors"
)

// Output is stdout or stderr of a process, to be read. Any goroutine. What came and was not
// read is at most 1 MiB and a frame of 128 KiB; a reader that is slower slows the process,
// never this node. Nothing is lost by reading late: the output of a process that has ended
// can still be read.
//
// It is the target of a stream (package streams): Feed brings bytes, and taken gives their
// credit back when the reader has had them.
type Output struct{ in *inlet }

// inlet is the inside of an Output. Its methods are those of streams.Target.
type inlet struct {
	mu      sync.Mutex
	parts   []part // what came and was not read
	eof     bool   // nothing comes behind parts
	err     error  // why nothing comes behind parts; nil with eof: the end
	closed  bool   // nobody reads any more
	ended   func(error)
	readers []wait.Waiter[struct{}]
}

// part is one frame. taken is called when the last byte of it is read.
type part struct {
	data  []byte
	taken func(error)
}

// Read reads what is there, and waits for something while there is nothing: it suspends the
// task ctx belongs to, or blocks the goroutine, until ctx ends. io.EOF is the end of the
// output; any other error says why the rest of it will not come (ErrNodeDown and other
// errors of package cluster), behind everything that came. In a callback of a loop, which
// may not wait, it is loopnode.ErrWouldBlock when there is nothing.
func (o *Output) Read(ctx context.Context, p []byte) (int, error) {
	if ctx == nil {
		return 0, fault.Config("Read needs a ctx, not nil")
	}
	if len(p) == 0 {
		return 0, nil
	}
	in := o.in
	for {
		if n, err, ready := in.take(p); ready {
			return n, err
		}
		w, err := in.await(ctx)
		if err != nil {
			return 0, err
		}
		if _, err := w.Wait(ctx); err != nil {
			in.leave(w)
			return 0, err
		}
	}
}

// Reader is the output as an io.Reader, for io.Copy and bufio; ctx bounds every Read.
func (o *Output) Reader(ctx context.Context) io.Reader { return reading{o, ctx} }

type reading struct {
	o   *Output
	ctx context.Context
}

func (r reading) Read(p []byte) (int, error) { return r.o.Read(r.ctx, p) }

// Close says that nobody reads any more: what is there is dropped, and the process that
// writes more gets a broken pipe, unless its profile keeps its output. It does not wait.
func (o *Output) Close() {
	o.in.stop(true, fmt.Errorf("%w: the output was closed here", fault.ErrClosed), fault.Codef(wire.Closed, "%w: the reader closed the output", fault.ErrClosed))
}

// take copies what is there. ready is false when there is nothing, and more may come.
func (in *inlet) take(p []byte) (n int, err error, ready bool) {
	in.mu.Lock()
	var taken []func(error)
	for n < len(p) && len(in.parts) > 0 {
		first := &in.parts[0]
		k := copy(p[n:], first.data)
		n += k
		if first.data = first.data[k:]; len(first.data) == 0 {
			taken = append(taken, first.taken)
			in.parts[0] = part{}
			in.parts = in.parts[1:]
		}
	}
	eof, err := in.eof, in.err
	in.mu.Unlock()
	for _, tell := range taken { // without the lock: to a process of this very node it is a call that comes back here
		tell(nil)
	}
	switch {
	case n > 0:
		return n, nil, true
	case err != nil:
		return 0, err, true
	case eof:
		return 0, io.EOF, true
	}
	return 0, nil, false
}

// await enters a reader, unless something came since take looked.
func (in *inlet) await(ctx context.Context) (wait.Waiter[struct{}], error) {
	w, err := wait.New[struct{}](ctx)
	if err != nil {
		return w, err
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.parts) > 0 || in.eof || in.err != nil {
		w.Deliver(struct{}{})
		return w, nil
	}
	in.readers = append(in.readers, w)
	return w, nil
}

func (in *inlet) leave(w wait.Waiter[struct{}]) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.readers = slices.DeleteFunc(in.readers, func(have wait.Waiter[struct{}]) bool { return have == w })
}

// wakeLocked lets every reader look again.
func (in *inlet) wakeLocked() {
	for _, w := range in.readers {
		w.Deliver(struct{}{})
	}
	in.readers = nil
}

// Feed takes the next bytes.
func (in *inlet) Feed(p []byte, taken func(error)) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed || in.eof || in.err != nil {
		return transportactors.ErrClosed
	}
	in.parts = append(in.parts, part{p, taken})
	in.wakeLocked()
	return nil
}

// WriteEOF is the end of the output.
func (in *inlet) WriteEOF(func(error)) error { return in.Close() }

// Close is the end of the output, too. The stream is over with it, although bytes may wait
// to be read: they are here.
func (in *inlet) Close() error {
	in.stop(false, nil, nil)
	return nil
}

// Abort is the end of a stream that somebody else has now, or whose process never began.
func (in *inlet) Abort() error {
	return in.Fail(fmt.Errorf("%w: the node of the process ended the stream", fault.ErrClosed))
}

// Fail ends the output with a reason behind what came.
func (in *inlet) Fail(reason error) error {
	in.stop(false, reason, reason)
	return nil
}

// stop ends the output, once. reason is for the reader, nil for the end; told is for the
// writer. drop forgets what was not read.
func (in *inlet) stop(drop bool, reason, told error) {
	in.mu.Lock()
	in.closed = in.closed || drop
	if drop {
		in.parts = nil
		if in.err == nil {
			in.err = reason
		}
	}
	if !in.eof && in.err == nil {
		in.eof, in.err = reason == nil, reason
	}
	ended := in.ended
	in.ended = nil
	in.wakeLocked()
	in.mu.Unlock()
	if ended != nil {
		ended(told)
	}
}

// over reports whether nothing comes any more.
func (in *inlet) over() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.eof || in.err != nil
}

// PauseReading is for connections that have an input.
func (in *inlet) PauseReading() error { return nil }

// ResumeReading is, too.
func (in *inlet) ResumeReading() error { return nil }

// OnEnd has the writer's half told when nothing is taken any more.
func (in *inlet) OnEnd(ended func(error)) (stop func(), err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.eof || in.err != nil {
		return nil, fault.Codef(wire.Closed, "%w: nobody reads the output any more", fault.ErrClosed)
	}
	in.ended = ended
	return func() {
		in.mu.Lock()
		defer in.mu.Unlock()
		in.ended = nil
	}, nil
}
