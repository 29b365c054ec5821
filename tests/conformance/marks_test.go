package conformance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"time"

	"github.com/loopmesh/loopmesh/loopnode"
)

// long is a time that does not come.
const long = time.Hour

// errnoNames are the system's errors that scenarios meet.
var errnoNames = map[syscall.Errno]string{
	syscall.ECONNREFUSED: "ECONNREFUSED",
	syscall.ECONNRESET:   "ECONNRESET",
	syscall.EPIPE:        "EPIPE",
	syscall.ENOENT:       "ENOENT",
	syscall.EADDRINUSE:   "EADDRINUSE",
}

// why is one word for an error, the same in every language.
func why(err error) string {
	var cancelled *loopnode.CancelledError
	var group *loopnode.GroupError
	var number syscall.Errno
	switch {
	case err == nil:
		return "None"
	case errors.As(err, &group):
		words := make([]string, len(group.Errs))
		for i, e := range group.Errs {
			words[i] = why(e)
		}
		return "group of " + strings.Join(words, ", ")
	case errors.As(err, &cancelled):
		return strings.TrimSpace("cancelled " + cancelled.Msg)
	case errors.Is(err, loopnode.ErrCancelled):
		return "cancelled"
	case errors.As(err, &number):
		return errnoNames[number]
	case errors.Is(err, loopnode.ErrTimeout):
		return "timeout"
	case errors.Is(err, fs.ErrNotExist):
		return "ENOENT"
	}
	return err.Error()
}

// marks tells things with the turn they happen in.
type marks struct {
	*counter
	say  func(...any)
	zero int
}

func newMarks(l *loopnode.Loop, say func(...any)) *marks {
	return &marks{counter: countTurns(l), say: say}
}

func (m *marks) start(part string) {
	m.say("--", part)
	m.zero = m.now
}

func (m *marks) mark(words ...any) { m.say(append(words, m.now-m.zero)...) }

// pythonList prints numbers as Python does.
func pythonList(numbers []int) string {
	return strings.ReplaceAll(fmt.Sprint(numbers), " ", ", ")
}

// watched is a future or task of which the end is told.
type watched[T any] interface {
	AddDoneCallback(fn func(*loopnode.Future[T])) loopnode.CallbackID
}

// watch marks the end of a future.
func watch[T any, F watched[T]](m *marks, name string, future F) F {
	future.AddDoneCallback(func(f *loopnode.Future[T]) {
		if f.Cancelled() { // how a done task keeps the message is CPython's own
			m.mark(name, "done", "cancelled")
			return
		}
		m.mark(name, "done", why(f.Exception()))
	})
	return future
}

// task starts a function without a result and marks its end.
func (m *marks) task(ctx context.Context, name string, fn func(context.Context) error) *loopnode.Task[int] {
	return watch[int](m, name, loopnode.CreateTask(ctx, name, noResult(fn)))
}

// noResult is fn as what tasks run.
func noResult(fn func(context.Context) error) func(context.Context) (int, error) {
	return func(ctx context.Context) (int, error) { return 0, fn(ctx) }
}

// sleeper sleeps and tells when it starts, ends, or is cancelled.
func (m *marks) sleeper(name string, d time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		m.mark(name, "starts")
		if err := loopnode.Sleep(ctx, d); err != nil {
			m.mark(name, "hears", why(err))
			return err
		}
		m.mark(name, "ends")
		return nil
	}
}
