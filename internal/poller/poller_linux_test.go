package poller

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sockets is a raw socket pair; near is closed by the tests themselves.
func sockets(t testing.TB) (near, far int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	must(t, err)
	t.Cleanup(func() { unix.Close(fds[1]) })
	return fds[0], fds[1]
}

func write(t testing.TB, fd int) {
	t.Helper()
	_, err := unix.Write(fd, []byte("x"))
	must(t, err)
}

// sleeps fails when waiting does not take its time: the loop would spin.
func sleeps(t testing.TB, p *Poller) {
	t.Helper()
	start := time.Now()
	for range 4 {
		if _, err := p.Wait(20*time.Millisecond, func(o any, _ Events) { t.Errorf("event for %v", o) }); err != nil {
			t.Fatal(err)
		}
	}
	if d := time.Since(start); d < 40*time.Millisecond {
		t.Fatalf("four waits of 20 ms took %v", d)
	}
}

func TestClosedDescriptors(t *testing.T) {
	conform(t, func(t *testing.T, p *Poller) {
		t.Run("closed before Remove", func(t *testing.T) {
			near, far := sockets(t)
			tok := mustAdd(t, p, near, Readable, "x")
			write(t, far)
			unix.Close(near)
			silence(t, p)
			if err := p.Modify(tok, Writable); !errors.Is(err, unix.EBADF) {
				t.Errorf("Modify of a closed descriptor: %v", err)
			}
			must(t, p.Remove(tok))
		})
		t.Run("a duplicate keeps reporting: the set is rebuilt and goes quiet", func(t *testing.T) {
			bystander, bfar := sockets(t)
			defer unix.Close(bystander)
			keep := mustAdd(t, p, bystander, Readable, "bystander")
			near, far := sockets(t)
			tok := mustAdd(t, p, near, Readable, "x")
			dup, err := unix.FcntlInt(uintptr(near), unix.F_DUPFD_CLOEXEC, 0)
			must(t, err)
			defer unix.Close(dup)
			unix.Close(near)
			must(t, p.Remove(tok))
			write(t, far)
			sleeps(t, p)
			write(t, bfar)
			if got := collect(t, p, 1); got[0] != (event{"bystander", Readable}) {
				t.Fatalf("after the rebuild: %v", got)
			}
			must(t, p.Wake())
			if n, err := p.Wait(-1, func(any, Events) {}); err != nil || n > 1 {
				t.Fatalf("Wait = %d, %v", n, err)
			}
			must(t, p.Remove(keep))
		})
		t.Run("a number in use again belongs to the new owner only", func(t *testing.T) {
			near, far := sockets(t)
			former := mustAdd(t, p, near, Readable, "former")
			dup, err := unix.FcntlInt(uintptr(near), unix.F_DUPFD_CLOEXEC, 0)
			must(t, err)
			defer unix.Close(dup) // the former file lives on and reports
			next, nfar := sockets(t)
			must(t, unix.Dup3(next, near, unix.O_CLOEXEC)) // closes near, reuses its number
			unix.Close(next)
			defer unix.Close(near)
			owner := mustAdd(t, p, near, Readable, "owner")
			write(t, far)
			sleeps(t, p)
			if err := p.Modify(former, Writable); !errors.Is(err, ErrStale) {
				t.Errorf("Modify of the former registration: %v", err)
			}
			must(t, p.Remove(former)) // must not take the new owner's registration away
			write(t, nfar)
			if got := collect(t, p, 1); got[0] != (event{"owner", Readable}) {
				t.Fatalf("got %v", got)
			}
			must(t, p.Remove(owner))
		})
		t.Run("a leftover in the kernel is taken over", func(t *testing.T) {
			near, far := sockets(t)
			tok := mustAdd(t, p, near, Readable, "former")
			dup, err := unix.FcntlInt(uintptr(near), unix.F_DUPFD_CLOEXEC, 0)
			must(t, err)
			unix.Close(near)
			must(t, p.Remove(tok))
			must(t, unix.Dup3(dup, near, unix.O_CLOEXEC)) // the same file under the same number
			unix.Close(dup)
			defer unix.Close(near)
			again := mustAdd(t, p, near, Readable, "again")
			write(t, far)
			if got := collect(t, p, 1); got[0] != (event{"again", Readable}) {
				t.Fatalf("got %v", got)
			}
			must(t, p.Remove(again))
		})
	})
}

func TestOwnDescriptorsCloseOnExec(t *testing.T) {
	conform(t, func(t *testing.T, p *Poller) {
		must(t, p.rebuild())
		for name, fd := range map[string]int{"epoll": p.epfd, "gate": p.gateFD, "eventfd": p.wakeFD, "timerfd": p.alarm.fd} {
			flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
			if err != nil || flags&unix.FD_CLOEXEC == 0 {
				t.Errorf("%s descriptor %d: flags %x, %v", name, fd, flags, err)
			}
		}
	})
}

func TestCloseLeaksNoDescriptor(t *testing.T) {
	count := func() int { // not the lowest free one: a leak may lie above it
		open, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		return len(open)
	}
	before := count()
	for range 50 {
		p, err := New()
		must(t, err)
		must(t, p.rebuild())
		must(t, p.Close())
	}
	if after := count(); after > before+5 {
		t.Fatalf("%d descriptors were open, now %d", before, after)
	}
}

// TestANumberThatIsNoDescriptor: the kernel would use the lower 32 bits, which are the
// number of somebody else's descriptor.
func TestANumberThatIsNoDescriptor(t *testing.T) {
	conform(t, func(t *testing.T, p *Poller) {
		near, _ := sockets(t)
		defer unix.Close(near)
		beyond := int64(1) << 32
		for _, fd := range []int{-1, near + int(beyond)} {
			if _, err := p.Add(fd, Readable, "nobody"); !errors.Is(err, unix.EBADF) {
				t.Errorf("Add(%d): %v", fd, err)
			}
		}
	})
}

func TestEventBufferGrows(t *testing.T) {
	conform(t, func(t *testing.T, p *Poller) {
		const n = 3 * minEvents
		seen := make(map[int]bool)
		for i := range n {
			near, far := sockets(t)
			defer unix.Close(near)
			write(t, far)
			mustAdd(t, p, near, Readable, i)
		}
		first, err := p.Wait(time.Second, func(o any, _ Events) { seen[o.(int)] = true })
		must(t, err)
		if first != minEvents {
			t.Fatalf("first batch is %d", first)
		}
		for range 4 { // the kernel goes round: nobody starves
			_, err := p.Wait(time.Second, func(o any, _ Events) { seen[o.(int)] = true })
			must(t, err)
		}
		if len(seen) != n || len(p.events) <= minEvents {
			t.Fatalf("%d of %d seen, buffer of %d", len(seen), n, len(p.events))
		}
	})
}

func TestAlarmIsSetOnlyForEarlierDeadlines(t *testing.T) {
	conform(t, func(t *testing.T, p *Poller) {
		must(t, p.alarm.set(time.Hour))
		armed := p.alarm.until
		must(t, p.alarm.set(time.Hour))
		must(t, p.alarm.set(2*time.Hour))
		if p.alarm.until != armed {
			t.Fatal("set anew for the same or a later deadline")
		}
		must(t, p.alarm.set(time.Minute))
		if p.alarm.until >= armed {
			t.Fatal("not set for an earlier deadline")
		}
	})
}

func TestTimeoutsWithoutTimerfd(t *testing.T) {
	conform(t, func(t *testing.T, p *Poller) {
		p.alarm.close()
		for _, d := range []time.Duration{time.Microsecond, 3*time.Millisecond + 1} {
			start := time.Now()
			n, err := p.Wait(d, func(any, Events) {})
			if took := time.Since(start); n != 0 || err != nil || took < d {
				t.Fatalf("Wait(%v) = %d, %v after %v", d, n, err, took)
			}
		}
	})
}

func TestCeilMillis(t *testing.T) {
	for d, want := range map[time.Duration]int{
		1: 1, time.Millisecond: 1, time.Millisecond + 1: 2, time.Second: 1000, 1<<63 - 1: 1<<31 - 1,
	} {
		if got := ceilMillis(d); got != want {
			t.Errorf("ceilMillis(%d) = %d, want %d", d, got, want)
		}
	}
}

func BenchmarkWaitReady(b *testing.B) {
	p, err := New()
	must(b, err)
	defer p.Close()
	near, far := sockets(b)
	defer unix.Close(near)
	write(b, far)
	mustAdd(b, p, near, Readable, p)
	each := func(any, Events) {}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Wait(0, each); err != nil {
			b.Fatal(err)
		}
	}
}

// pipeEnds is a pipe, which reports a hang-up and an error without readiness.
func pipeEnds(t testing.TB) (r, w int) {
	t.Helper()
	var fds [2]int
	must(t, unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK))
	return fds[0], fds[1]
}

func TestHangupAndErrorWithoutReadiness(t *testing.T) {
	conform(t, func(t *testing.T, p *Poller) {
		t.Run("a hang-up is readable, too", func(t *testing.T) {
			r, w := pipeEnds(t)
			defer unix.Close(r)
			tok := mustAdd(t, p, r, Readable, "r")
			unix.Close(w)
			if got := collect(t, p, 1); got[0].ready != Readable|Hangup {
				t.Fatalf("got %v", got)
			}
			must(t, p.Remove(tok))
		})
		t.Run("an error is writable, too", func(t *testing.T) {
			r, w := pipeEnds(t)
			defer unix.Close(w)
			for full := make([]byte, 1<<16); ; { // a pipe that is full is not writable
				if _, err := unix.Write(w, full); err != nil {
					break
				}
			}
			tok := mustAdd(t, p, w, Writable, "w")
			silence(t, p)
			unix.Close(r)
			if got := collect(t, p, 1); got[0].ready != Writable|Failed {
				t.Fatalf("got %v", got)
			}
			must(t, p.Remove(tok))
		})
		t.Run("nothing is reported, and the poller sleeps, once nothing is asked for", func(t *testing.T) {
			r, w := pipeEnds(t)
			defer unix.Close(r)
			tok := mustAdd(t, p, r, Readable, "r")
			must(t, p.Modify(tok, 0))
			unix.Close(w)
			sleeps(t, p)
			must(t, p.Remove(tok))
		})
		t.Run("nothing is reported when a callback of the same batch asks for nothing", func(t *testing.T) {
			var tokens []Token
			for range 2 {
				r, w := pipeEnds(t)
				defer unix.Close(r)
				tokens = append(tokens, mustAdd(t, p, r, Readable, len(tokens)))
				unix.Close(w)
			}
			var called []any
			n, err := p.Wait(time.Second, func(owner any, _ Events) {
				called = append(called, owner)
				must(t, p.Modify(tokens[1-owner.(int)], 0))
			})
			if n != 1 || len(called) != 1 || err != nil {
				t.Fatalf("Wait = %d, %v; called for %v", n, err, called)
			}
			for _, tok := range tokens {
				must(t, p.Remove(tok))
			}
		})
	})
}
