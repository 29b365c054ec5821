package transportactors

import (
	"context"
	"sync"

	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/loopnode/report"
	"github.com/loopmesh/loopmesh/transportactors/internal/base"
)

// serverLoop is one of the loops that the connections of a server live on. The
// server accepts on its own loop and hands the sockets over in turn; one that is on
// its way to another loop is in waiting, so that the end of that loop closes it. How
// many connections there are is counted on the server's loop alone.
type serverLoop struct {
	base.Creation // of its connections, which all have the same
	server        *Server
	loop          *loopnode.Loop

	mu      sync.Mutex
	waiting []client // on their way to loop
	gone    bool     // loop has closed: it takes no more
}

// addLoops makes the server's loops and waits until each knows of the server. With
// no loops given there is one, the server's own.
func (s *Server) addLoops(ctx context.Context, loops []*loopnode.Loop) error {
	if len(loops) == 0 {
		loops = []*loopnode.Loop{s.loop}
	}
	for _, l := range loops {
		b := &serverLoop{server: s, loop: l}
		b.SetContext(l, s.ctx)
		if err := b.enter(ctx); err != nil {
			return err
		}
		s.serverLoops = append(s.serverLoops, b)
	}
	return nil
}

// own is whether it is the loop that the server itself is on.
func (b *serverLoop) own() bool { return b.loop == b.server.loop }

// enter makes it a member of its loop, so that the loop's close
// ends what is on its way there.
func (b *serverLoop) enter(ctx context.Context) error {
	if b.own() {
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
		b.leave()
	}
	return err
}

// leave undoes enter. The loop runs it behind what was posted before; one that is
// closed has let go already.
func (b *serverLoop) leave() {
	if !b.own() {
		_ = b.loop.Ref().CallSoonThreadsafe(func() { base.Leave(b) })
	}
}

// Loop is the loop.
func (b *serverLoop) Loop() *loopnode.Loop { return b.loop }

// accept makes c a connection of this loop; false: the loop is closed. Server's
// goroutine.
func (b *serverLoop) accept(c client) bool {
	if b.own() {
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

func (b *serverLoop) openNext() {
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
func (b *serverLoop) open(from client) {
	p, err := base.FromFactory(b.server.factory, func() { b.refuse(from.fd, loopnode.ErrGoexit) })
	if err != nil {
		b.refuse(from.fd, err)
		return
	}
	c, err := newConn(b.loop, from, b.server.tls.wrap(b.loop, p), b.server.bounds)
	if err != nil {
		b.refuse(-1, err) // newConn has closed the socket
		return
	}
	c.Inherit(b)
	c.accepted = b
	c.start(nil)
}

// refuse gives up an accepted socket. A peer can make this happen as often as
// it likes, so without debug mode it is only counted.
func (b *serverLoop) refuse(fd int, err error) {
	if fd >= 0 {
		_ = sock.Close(fd)
	}
	b.server.failed.Add(1)
	b.countDown(1)
	if b.loop.Debug() {
		b.loop.CallExceptionHandler(loopnode.ExceptionContext{Kind: report.Server, Message: creationError, Exception: err, Context: b.server.ctx})
	}
}

// creationError is asyncio's text.
const creationError = "Error on transport creation for incoming connection"

// each calls fn for the server's connections on this loop, those on their way included.
func (b *serverLoop) each(fn func(Transport)) {
	all := func() {
		for _, c := range base.Members[*conn](b.loop) {
			if c.accepted == b {
				fn(c.outermost())
			}
		}
	}
	if b.own() {
		all()
		return
	}
	_ = b.loop.Ref().CallSoonThreadsafe(all) // a closed loop has no connections
}

// connEnded counts down a connection that has ended.
func (b *serverLoop) connEnded(c *conn) {
	if t, ok := c.top.(*tlsTransport); ok && !t.told {
		b.server.failed.Add(1) // its handshake failed
	}
	b.countDown(1)
}

// countDown tells the server that n connections are no more.
func (b *serverLoop) countDown(n int) {
	count := func() {
		b.server.count -= n
		b.server.settle()
	}
	if b.own() {
		count()
		return
	}
	_ = b.server.loop.Ref().CallSoonThreadsafe(count) // with the server's loop closed nobody waits
}

// LoopClosed closes what will not be a connection any more; those that are
// end by themselves.
func (b *serverLoop) LoopClosed() {
	b.mu.Lock()
	all := b.waiting
	b.waiting, b.gone = nil, true
	b.mu.Unlock()
	for _, c := range all {
		_ = sock.Close(c.fd)
	}
	b.countDown(len(all))
	base.Leave(b)
}
