package loopnode

import (
	"context"
	"time"

	"github.com/loopmesh/loopmesh/actors"
	"github.com/loopmesh/loopmesh/internal/loopaccess"
)

// Internal is for the other packages of this module: nobody else can make the
// key. See package internal/loopaccess.
func (l *Loop) Internal(loopaccess.Key) loopaccess.Loop { return (*access)(l) }

// ActorHost is how actors on the loop are run; System.Spawn asks for it. Any
// goroutine.
func (l *Loop) ActorHost() actors.Host { return (*access)(l) }

// access is a Loop with the methods of loopaccess.Loop, which also make it an
// actors.Host. Why a type of its own: they would be public methods of Loop
// otherwise. The conversion costs nothing.
type access Loop

func (a *access) loop() *Loop { return (*Loop)(a) }

func (a *access) Post(fn func()) error { return a.loop().post(fn) }

func (a *access) Soon(fn func()) { a.loop().soon(fn) }

func (a *access) After(d time.Duration, fn func()) (cancel func()) {
	return a.loop().CallLater(d, fn).Cancel
}

// OnThisGoroutine reports whether the calling goroutine runs the loop. It costs
// about a microsecond. Any goroutine.
func (a *access) OnThisGoroutine() bool { return a.running.Load() && a.loop().here() }

// Elapsed is the loop's clock. Any goroutine.
func (a *access) Elapsed() time.Duration { return time.Duration(a.loop().Time()) }

func (a *access) Attach(key, value any) { a.loop().attach(key, value) }

func (a *access) Attached(key any) any { return a.values[key] }

func (a *access) Detach(ctx context.Context) context.Context { return a.loop().detach(ctx) }

func (a *access) ReadBuffer() []byte { return a.loop().readBuffer() }

func (a *access) Watch(fd int, onReadable, onWritable func()) (loopaccess.Watch, error) {
	w, err := a.loop().watchOwned(fd, onReadable, onWritable)
	if err != nil {
		return nil, err // not w: a nil *watch in an interface is not nil
	}
	return w, nil
}

func (a *access) Watched(fd int) error { return a.loop().watched(fd) }

func (a *access) CheckGoroutine(what string) error { return a.loop().checkGoroutine(what) }

func (a *access) ReservedExecutor(kind string) any {
	if ex := a.pools.reserve(kind); ex != nil {
		return ex
	}
	return nil
}

func (a *access) Resolver() any { return a.resolver }

func (a *access) TeardownAndClose() error { return a.loop().teardown() }

func (a *access) Supervise(s loopaccess.Supervisor) { a.supervisor, a.beat.supervisor = s, s }

// taskAccess is a task with the methods of loopaccess.Task.
type taskAccess task

func (a *taskAccess) Loop() any { return a.loop }

func (a *taskAccess) Owned() error { return (*task)(a).owned() }

func (a *taskAccess) Cancel(why string) { a.fut.Cancel(why) }

func (a *taskAccess) ShowAs(fn any) { a.body.showAs(fn) }

func (a *taskAccess) Context() context.Context { return &a.ctx }

func (a *taskAccess) EndsCancelled(err error) bool { return (*task)(a).endsCancelled(err) }

func (a *taskAccess) SlowLookup() (limit time.Duration, timed bool) {
	return a.loop.slowAt, a.loop.tracing.Load()
}
