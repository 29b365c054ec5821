package loopnode

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// pair makes two connected non-blocking sockets.
func pair(t *testing.T) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { _ = unix.Close(fds[0]); _ = unix.Close(fds[1]) })
	return fds[0], fds[1]
}

func send(t *testing.T, fd int) {
	t.Helper()
	_, err := unix.Write(fd, []byte("x"))
	must(t, err)
}

func TestDescriptors(t *testing.T) {
	t.Run("FDW-01 FDW-02 readers are replaced and removed, writers are apart", func(t *testing.T) {
		l, _ := newLoop(t)
		a, b := pair(t)
		send(t, b)
		var got []string
		log := func(s string) func() { return func() { got = append(got, s) } }
		must(t, l.AddReader(a, log("old")))
		must(t, l.AddReader(a, log("new")))
		must(t, l.AddWriter(a, log("writer")))
		runTurns(t, l, 1)
		same(t, got, []string{"new", "writer"})
		if !l.RemoveReader(a) || l.RemoveReader(a) {
			t.Fatal("remove reader")
		}
		runTurns(t, l, 1)
		same(t, got, []string{"new", "writer", "writer"})
		if !l.RemoveWriter(a) || l.RemoveWriter(a) {
			t.Fatal("remove writer")
		}
	})
	t.Run("FDW-03 a reader runs every turn while there is data, also when it panics", func(t *testing.T) {
		l, log := newLoop(t)
		a, b := pair(t)
		send(t, b)
		must(t, l.AddReader(a, explode))
		runTurns(t, l, 3)
		if n := strings.Count(log.String(), "Exception in callback"); n != 3 {
			t.Fatal(n)
		}
	})
	t.Run("FDW-04 a callback removes another that is ready in the same batch", func(t *testing.T) {
		l, _ := newLoop(t)
		a, b := pair(t)
		send(t, a)
		send(t, b)
		ran := 0
		must(t, l.AddReader(a, func() { ran++; l.RemoveReader(b) }))
		must(t, l.AddReader(b, func() { ran++; l.RemoveReader(a) }))
		runTurns(t, l, 2)
		if ran != 2 { // one of them, twice
			t.Fatal(ran)
		}
	})
	t.Run("FDW-05 the reader comes before the writer", func(t *testing.T) {
		l, _ := newLoop(t)
		a, b := pair(t)
		send(t, b)
		var got []string
		must(t, l.AddWriter(a, func() { got = append(got, "w") }))
		must(t, l.AddReader(a, func() { got = append(got, "r") }))
		runTurns(t, l, 1)
		same(t, got, []string{"r", "w"})
	})
	t.Run("FDW-06 bad descriptors are refused with a reason", func(t *testing.T) {
		l, _ := newLoop(t)
		if err := l.AddReader(-1, func() {}); !errors.Is(err, ErrInvalidArgument) {
			t.Error(err)
		}
		if err := l.AddReader(1<<20, func() {}); !errors.Is(err, unix.EBADF) {
			t.Error(err)
		}
		f, err := os.CreateTemp(t.TempDir(), "")
		must(t, err)
		defer f.Close()
		if err := l.AddReader(int(f.Fd()), func() {}); !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "regular file") {
			t.Error(err)
		}
		if l.RemoveReader(1<<20) || l.RemoveWriter(-1) {
			t.Error("removed what was never there")
		}
	})
	t.Run("FDW-07 a transport's descriptor is refused until it is closed", func(t *testing.T) {
		l, _ := newLoop(t)
		a, _ := pair(t)
		w, err := l.watchOwned(a, func() {}, func() {})
		must(t, err)
		if err := l.AddReader(a, func() {}); !errors.Is(err, ErrBusy) {
			t.Error(err)
		}
		if err := l.AddWriter(a, func() {}); !errors.Is(err, ErrBusy) {
			t.Error(err)
		}
		w.Close()
		must(t, l.AddReader(a, func() {}))
		if !l.RemoveReader(a) {
			t.Error("not removed")
		}
	})
	t.Run("FDW-08 a number that is used again gets no stale event", func(t *testing.T) {
		l, _ := newLoop(t)
		for range 200 {
			fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
			must(t, err)
			send(t, fds[1])
			must(t, l.AddReader(fds[0], func() { t.Error("stale event") }))
			if !l.RemoveReader(fds[0]) {
				t.Fatal("not removed")
			}
			must(t, unix.Close(fds[0]))
			must(t, unix.Close(fds[1]))
			runTurns(t, l, 1)
		}
	})
	t.Run("SCH-03 the batch is what was ready, then I/O, then timers", func(t *testing.T) {
		l, _ := newLoop(t)
		a, b := pair(t)
		send(t, b)
		var got []string
		log := func(s string) func() { return func() { got = append(got, s) } }
		must(t, l.AddReader(a, log("io")))
		l.CallAt(0, log("timer"))
		l.CallSoon(log("soon1"))
		must(t, l.Ref().CallSoonThreadsafe(log("threadsafe")))
		l.CallSoon(log("soon2"))
		runTurns(t, l, 1)
		same(t, got, []string{"soon1", "threadsafe", "soon2", "io", "timer"})
	})
}
