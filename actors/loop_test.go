package actors

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/loopmesh/loopmesh/internal/leaktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(leaktest.Late{M: m}) }

const patience = 10 * time.Second

var errClosed = errors.New("the test loop is closed")

// handLoop is a loop turned by hand, with a virtual clock: exact order.
type handLoop struct {
	name   string
	mu     sync.Mutex
	posted []func() // under mu
	closed bool     // under mu
	ready  []func()
	timers []*handTimer
	now    time.Duration
}

type handTimer struct {
	at   time.Duration
	fn   func()
	gone bool
}

func newHandLoop(name string) *handLoop { return &handLoop{name: name} }

func (l *handLoop) Name() string { return l.name }

func (l *handLoop) ActorHost() Host { return l }

func (l *handLoop) Post(fn func()) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return errClosed
	}
	l.posted = append(l.posted, fn)
	return nil
}

func (l *handLoop) Soon(fn func()) { l.ready = append(l.ready, fn) }

func (l *handLoop) After(d time.Duration, fn func()) func() {
	t := &handTimer{at: l.now + d, fn: fn}
	l.timers = append(l.timers, t)
	return func() {
		t.gone = true
		if i := slices.Index(l.timers, t); i >= 0 {
			l.timers = slices.Delete(l.timers, i, i+1)
		}
	}
}

// Elapsed makes it a Clock.
func (l *handLoop) Elapsed() time.Duration { return l.now }

// turn runs what is ready now, once, and reports how many callbacks ran.
func (l *handLoop) turn() int {
	l.mu.Lock()
	batch := append(l.ready, l.posted...)
	l.ready, l.posted = nil, nil
	l.mu.Unlock()
	for _, fn := range batch {
		fn()
	}
	return len(batch)
}

func (l *handLoop) settle() {
	for l.turn() > 0 {
	}
}

// advance moves the clock, timer by timer.
func (l *handLoop) advance(d time.Duration) {
	end := l.now + d
	for {
		var next *handTimer
		for _, t := range l.timers {
			if !t.gone && t.at <= end && (next == nil || t.at < next.at) {
				next = t
			}
		}
		if next == nil {
			break
		}
		l.now, next.gone = next.at, true
		next.fn()
		l.settle()
	}
	l.now = end
}

func (l *handLoop) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
}

// goLoop is a loop on a goroutine of its own.
type goLoop struct {
	handLoop
	born time.Time
	wake chan struct{}
	quit chan struct{}
	done chan struct{}
}

func newGoLoop(t testing.TB, name string) *goLoop {
	l := &goLoop{handLoop: handLoop{name: name}, born: time.Now(), wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{})}
	// goroutine: owner: the test; ends in stop.
	go l.run()
	t.Cleanup(l.stop)
	return l
}

func (l *goLoop) ActorHost() Host { return l }

func (l *goLoop) run() {
	defer close(l.done)
	for {
		if l.turn() > 0 {
			continue
		}
		select {
		case <-l.wake:
		case <-l.quit:
			return
		}
	}
}

func (l *goLoop) Post(fn func()) error {
	err := l.handLoop.Post(fn)
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return err
}

func (l *goLoop) After(d time.Duration, fn func()) func() {
	t := time.AfterFunc(d, func() { _ = l.Post(fn) })
	return func() { t.Stop() }
}

func (l *goLoop) Elapsed() time.Duration { return time.Since(l.born) }

// stop ends the loop's goroutine; the loop refuses posts from then on.
func (l *goLoop) stop() {
	select {
	case <-l.quit:
	default:
		l.close()
		close(l.quit)
	}
	<-l.done
}

// book is the log of a test: what happened, in order.
type book struct {
	mu    sync.Mutex
	lines []string
}

func (b *book) add(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, fmt.Sprintf(format, args...))
}

func (b *book) read() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.lines...)
}

func (b *book) want(t testing.TB, want ...string) {
	t.Helper()
	if got := b.read(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("got  %q\nwant %q", got, want)
	}
}

// name is the message's name in a book.
func name(m any) string {
	switch m := m.(type) {
	case Started, Restarting, Stopping, Stopped:
		return fmt.Sprintf("%T", m)[len("actors."):]
	case Terminated:
		return "Terminated"
	}
	return fmt.Sprint(m)
}

// recorder writes every message down with the number of the life that got it.
func (b *book) recorder(also func(ctx *Context, life int)) func() Actor {
	life := 0
	return func() Actor {
		life++
		n := life
		return Func(func(ctx *Context) {
			b.add("%s#%d", name(ctx.Message()), n)
			if also != nil {
				also(ctx, n)
			}
		})
	}
}

func is[T any](ctx *Context) bool { _, ok := ctx.Message().(T); return ok }

func fixedClock(l *handLoop) Options {
	epoch := time.Unix(1_700_000_000, 0)
	return Options{
		Logger: hclog.New(&hclog.LoggerOptions{Output: io.Discard}),
		Now:    func() time.Time { return epoch.Add(l.now) },
		Rand:   func() float64 { return 0 },
	}
}

func quiet() Options { return Options{Logger: hclog.NewNullLogger()} }

// system makes a system; opts are good.
func system(t testing.TB, opts Options) *System {
	t.Helper()
	s, err := New(opts)
	must(t, err)
	return s
}

func onHand(t testing.TB) (*handLoop, *System) {
	l := newHandLoop("hand")
	return l, system(t, fixedClock(l))
}

func spawn(t testing.TB, s *System, l Loop, name string, f func() Actor, opts ...SpawnOption) Ref {
	t.Helper()
	r, err := s.Spawn(l, name, f, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func recv[T any](t testing.TB, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
	}
	return v
}
