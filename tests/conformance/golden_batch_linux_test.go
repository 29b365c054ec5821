package conformance

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestGoldenBatch(t *testing.T) {
	t.Run("SCH-03 a batch is callbacks, then events, then timers", func(t *testing.T) {
		golden(t, "g02_batch", batchOrder)
	})
}

// socketPair gives two connected descriptors; the test closes them.
func socketPair(t *testing.T) (ours, theirs int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fds[0], fds[1]
}

// closeAll closes what a test still owns.
func closeAll(t *testing.T, fds ...int) {
	t.Helper()
	for _, fd := range fds {
		if err := unix.Close(fd); err != nil {
			t.Error(err)
		}
	}
}

func batchOrder(t *testing.T, say func(...any)) {
	l := newLoop(t)
	ours, theirs := socketPair(t)
	defer closeAll(t, ours, theirs)
	if _, err := unix.Write(theirs, []byte("x")); err != nil {
		t.Fatal(err)
	}
	err := l.AddReader(ours, func() {
		say("readable")
		l.RemoveReader(ours)
	})
	if err != nil {
		t.Fatal(err)
	}
	l.CallAt(l.Time().Add(-time.Millisecond), func() { say("timer") })
	l.CallSoon(func() { say("soon 1") })
	if err := l.Ref().CallSoonThreadsafe(func() { say("posted") }); err != nil {
		t.Fatal(err)
	}
	l.CallSoon(func() { say("soon 2") })
	l.Stop()
	runForever(t, l)
}
