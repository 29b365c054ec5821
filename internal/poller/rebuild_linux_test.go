package poller

import (
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// leftover makes a registration stay in the kernel that can no longer be named:
// its descriptor is closed and a duplicate of it lives. The next Wait meets it.
func leftover(t *testing.T, p *Poller) {
	t.Helper()
	near, far := sockets(t)
	tok := mustAdd(t, p, near, Readable, "leftover")
	dup, err := unix.FcntlInt(uintptr(near), unix.F_DUPFD_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { unix.Close(dup) })
	unix.Close(near)
	must(t, p.Remove(tok))
	write(t, far)
}

func ignore(any, Events) {}

func TestRebuild(t *testing.T) {
	conform(t, func(t *testing.T, p *Poller) {
		t.Run("the new set has the poller's own descriptors", func(t *testing.T) {
			leftover(t, p)
			for old := p.epfd; p.epfd == old; {
				_, err := p.Wait(time.Second, ignore)
				must(t, err)
			}
			for _, streak := range []int{0, briskStreak} {
				p.brisk = streak
				must(t, p.Wake())
				start := time.Now()
				_, err := p.Wait(20*time.Second, ignore)
				must(t, err)
				if took := time.Since(start); took > 15*time.Second {
					t.Fatalf("Wake ended a wait after %v", took)
				}
			}
			sleeps(t, p) // and not for ever: the alarm is in the set too
		})
		t.Run("at the descriptor limit the old set is kept, and left later", func(t *testing.T) {
			near, far := sockets(t)
			defer unix.Close(near)
			tok := mustAdd(t, p, near, Readable, "bystander")
			leftover(t, p)
			var limit unix.Rlimit
			must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
			must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: limit.Max}))
			defer unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
			old := p.epfd
			for range 10 {
				_, err := p.Wait(time.Second, ignore)
				must(t, err)
			}
			if p.epfd != old || !p.orphans {
				t.Fatal("the limit did not hold: this test proves nothing")
			}
			write(t, far)
			seen := false
			for end := time.Now().Add(10 * time.Second); !seen && time.Now().Before(end); {
				_, err := p.Wait(time.Second, func(owner any, _ Events) { seen = seen || owner == "bystander" })
				must(t, err)
			}
			if !seen {
				t.Fatal("a registration of the old set is lost")
			}
			unix.Read(near, make([]byte, 8))
			must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
			for p.epfd == old {
				_, err := p.Wait(time.Second, ignore)
				must(t, err)
			}
			sleeps(t, p)
			must(t, p.Remove(tok))
		})
	})
}

// TestSignalsDoNotEndTheWait: a signal ends epoll_wait with EINTR, whatever
// SA_RESTART says.
func TestSignalsDoNotEndTheWait(t *testing.T) {
	conform(t, func(t *testing.T, p *Poller) {
		var over atomic.Bool
		sent := make(chan int)
		// goroutine: owner: this test; ends when over is set.
		go func() {
			n := 0
			for ; !over.Load(); n++ {
				threads, err := os.ReadDir("/proc/self/task")
				if err != nil {
					t.Error(err)
				}
				for _, thread := range threads {
					tid, _ := strconv.Atoi(thread.Name())
					_ = unix.Tgkill(os.Getpid(), tid, unix.SIGURG) // Go ignores it when it did not send it
				}
			}
			sent <- n
		}()
		for range 300 {
			p.brisk = briskStreak // raw: parked, the thread is not in epoll_wait
			if _, err := p.Wait(5*time.Millisecond, ignore); err != nil {
				t.Errorf("a signal ended the wait: %v", err)
				break
			}
		}
		over.Store(true)
		if n := <-sent; n == 0 {
			t.Error("no signal was sent")
		}
	})
}
