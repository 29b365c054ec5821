package transportactors

import (
	"context"
	"sync"

	"github.com/loopmesh/loopmesh/internal/guard"
	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/loopnode/report"
	"github.com/loopmesh/loopmesh/transportactors/internal/base"
)

// branch is a server on one of its loops: the connections that live there.
type branch struct {
	base.Origin // of its connections, which all have the same
	server      *Server
	loop        *loopnode.Loop

	mu      sync.Mutex
	waiting []client // on their way to loop
	gone    bool     // loop has closed: it takes no more
}

// branchOut makes the server's branches and waits until each loop knows its
// own. With no loops given there is one branch, on the server's loop.
func (s *Server) branchOut(ctx context.Context, loops []*loopnode.Loop) error {
	if len(loops) == 0 {
		loops = []*loopnode.Loop{s.loop}
	}
	for _, l := range loops {
		b := &branch{server: s, loop: l}
		b.Bear(l, s.ctx)
		if err := b.join(ctx); err != nil {
			return err
		}
		s.branches = append(s.branches, b)
	}
	return nil
}

// home is whether the branch is on the server's own loop.
func (b *branch) home() bool { return b.loop == b.server.loop }

// join puts the branch under the care of its loop, so that the loop's close
// ends what is on its way there.
func (b *branch) join(ctx context.Context) error {
	if b.home() {
		return nil // the server is
	}
	joined := loopnode.NewFuture[struct{}](b.server.loop)
	err := b.loop.Ref().CallSoonThreadsafe(func() {
		base.Enter(b)
		_ = b.server.loop.Ref().CallSoonThreadsafe(func() {
			if !joined.Done() {
				_ = joined.SetResult(struct{}{})
			}
		})
	})
	if err == nil {
		_, err = joined.Await(ctx)
	}
	if err != nil {
		b.part()
	}
	return err
}

// part undoes join. The loop runs it behind what was posted before; one that is
// closed has let go already.
func (b *branch) part() {
	if !b.home() {
		_ = b.loop.Ref().CallSoonThreadsafe(func() { base.Leave(b) })
	}
}

// Loop is where the branch lives.
func (b *branch) Loop() *loopnode.Loop { return b.loop }

// take makes c a connection of this branch; false: its loop is closed. Server's
// goroutine.
func (b *branch) take(c client) bool {
	if b.home() {
		b.open(c)
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.gone {
		return false
	}
	b.waiting = append(b.waiting, c)
	_ = b.loop.Ref().CallSoonThreadsafe(b.openNext) // a loop that closes first finds c in waiting
	return true
}

func (b *branch) openNext() {
	b.mu.Lock()
	if len(b.waiting) == 0 {
		b.mu.Unlock()
		return
	}
	next := b.waiting[0]
	b.waiting = b.waiting[1:]
	b.mu.Unlock()
	b.open(next)
}

// open makes the connection of an accepted socket.
func (b *branch) open(from client) {
	refused := loopnode.ErrGoexit // should the factory leave that way
	defer func() {
		if refused != nil {
			b.refuse(from.fd, refused)
		}
	}()
	var p Protocol
	if fault := guard.Call(func() { p = b.server.factory() }); fault != nil {
		refused = fault
		return
	}
	if refused = base.NotNil(p); refused != nil {
		return
	}
	refused = loopnode.ErrGoexit
	c, err := newConn(b.loop, from, b.server.tls.wrap(b.loop, p), b.server.bounds)
	if refused = err; err != nil {
		from.fd = -1 // newConn has closed it
		return
	}
	c.Inherit(b)
	c.branch = b
	c.start(nil)
}

// refuse gives up an accepted socket. A stranger can make this happen as often as
// they like, so without debug mode it is only counted.
func (b *branch) refuse(fd int, err error) {
	if fd >= 0 {
		_ = sock.Close(fd)
	}
	b.server.failed.Add(1)
	b.ended(1)
	if b.loop.Debug() {
		b.loop.CallExceptionHandler(loopnode.ExceptionContext{Kind: report.Server, Message: creationError, Exception: err, Context: b.server.ctx})
	}
}

// creationError is asyncio's text.
const creationError = "Error on transport creation for incoming connection"

// each calls fn for the branch's connections, those on their way included.
func (b *branch) each(fn func(Transport)) {
	all := func() {
		for _, c := range base.Members[*conn](b.loop) {
			if c.branch == b {
				fn(c.face())
			}
		}
	}
	if b.home() {
		all()
		return
	}
	_ = b.loop.Ref().CallSoonThreadsafe(all) // a closed loop has no connections
}

// left counts down a connection that has ended.
func (b *branch) left(c *conn) {
	if t, ok := c.top.(*tlsTransport); ok && !t.told {
		b.server.failed.Add(1) // its handshake came to nothing
	}
	b.ended(1)
}

// ended tells the server that n connections are no more.
func (b *branch) ended(n int) {
	count := func() {
		b.server.count -= n
		b.server.settle()
	}
	if b.home() {
		count()
		return
	}
	_ = b.server.loop.Ref().CallSoonThreadsafe(count) // with the server's loop closed nobody waits
}

// LoopClosed closes what will not be a connection any more; those that are
// end by themselves.
func (b *branch) LoopClosed() {
	b.mu.Lock()
	all := b.waiting
	b.waiting, b.gone = nil, true
	b.mu.Unlock()
	for _, c := range all {
		_ = sock.Close(c.fd)
	}
	b.ended(len(all))
	base.Leave(b)
}
