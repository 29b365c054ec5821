package poller

import (
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestSleepsRawOnlyByHabit drives both ways of sleeping through the same work.
func TestSleepsRawOnlyByHabit(t *testing.T) {
	conform(t, func(t *testing.T, p *Poller) {
		if !p.parks {
			t.Fatal("Go's poller refuses an epoll descriptor")
		}
		near, far := sockets(t)
		defer unix.Close(near)
		tok := mustAdd(t, p, near, Readable, "near")
		for _, streak := range []int{0, briskStreak} {
			p.brisk = streak
			// goroutine: owner: this test; ends when it has written.
			go unix.Write(far, []byte("x"))
			if n, err := p.Wait(-1, func(any, Events) {}); n != 1 || err != nil {
				t.Fatalf("streak %d: a descriptor: Wait = %d, %v", streak, n, err)
			}
			unix.Read(near, make([]byte, 8))

			p.brisk = streak
			// goroutine: owner: this test; ends when it has woken.
			go p.Wake()
			if n, err := p.Wait(-1, func(any, Events) {}); n != 0 || err != nil {
				t.Fatalf("streak %d: a wake: Wait = %d, %v", streak, n, err)
			}
			if p.brisk != 0 {
				t.Fatalf("streak %d: a goroutine's wake left a streak of %d", streak, p.brisk)
			}

			must(t, p.Modify(tok, 0))
			p.brisk = streak
			start := time.Now()
			for time.Since(start) < 5*time.Millisecond {
				p.brisk = streak
				if _, err := p.Wait(5*time.Millisecond, func(any, Events) {}); err != nil {
					t.Fatal(err)
				}
			}
			if p.brisk != 0 {
				t.Fatalf("streak %d: a long sleep left a streak of %d", streak, p.brisk)
			}
			must(t, p.Modify(tok, Readable))
		}
	})
}

func TestTrafficMakesTheHabit(t *testing.T) {
	conform(t, func(t *testing.T, p *Poller) {
		near, far := sockets(t)
		defer unix.Close(near)
		mustAdd(t, p, near, Readable, "near")
		write(t, far) // level-triggered and never read: every sleep is short
		limit := time.Now().Add(10 * time.Second)
		for p.brisk < briskStreak {
			if _, err := p.Wait(-1, func(any, Events) {}); err != nil || time.Now().After(limit) {
				t.Fatalf("streak of %d, %v", p.brisk, err)
			}
		}
	})
}

// TestNoEventIsLostBetweenTheWaysOfSleeping answers a peer that writes now at
// once, now after longer than a short sleep, and wakes the poller in between, so
// that the habit comes and goes all the time.
func TestNoEventIsLostBetweenTheWaysOfSleeping(t *testing.T) {
	conform(t, func(t *testing.T, p *Poller) {
		near, far := sockets(t)
		defer unix.Close(near)
		mustAdd(t, p, near, Readable, "near")
		const rounds = 3000
		answered, over := make(chan struct{}, 1), make(chan bool, 1)
		// goroutine: owner: this test; ends after its last round, or a lost answer.
		go func() {
			lost := time.NewTimer(time.Hour)
			defer lost.Stop()
			for i := range rounds {
				if i%25 == 24 { // the habit needs fewer rounds than this
					<-time.After(2 * short)
				}
				if i%40 == 39 {
					p.Wake()
				}
				unix.Write(far, []byte("x"))
				lost.Reset(20 * time.Second)
				select {
				case <-answered:
				case <-lost.C:
					over <- false
					p.Wake()
					return
				}
			}
			over <- true
			p.Wake()
		}()
		raws := 0
		for b := make([]byte, 8); ; {
			_, err := p.Wait(-1, func(any, Events) {
				unix.Read(near, b)
				if !p.gated {
					raws++
				}
				answered <- struct{}{}
			})
			must(t, err)
			select {
			case whole := <-over:
				if !whole || raws == 0 || raws == rounds {
					t.Fatalf("no answer lost: %v; %d of %d sleeps were raw", whole, raws, rounds)
				}
				return
			default:
			}
		}
	})
}

// TestARawSleepLetsOthersRun: a goroutine that is ready runs before the poller sleeps
// with the only processor, once per yieldEvery; and such a sleep is short.
func TestARawSleepLetsOthersRun(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	conform(t, func(t *testing.T, p *Poller) {
		if !p.single {
			t.Fatal("the poller does not know that there is one processor")
		}
		now := time.Now()
		for _, one := range []struct {
			at     time.Time
			yields bool // false: it may run, too, when the kernel moves the test
		}{{now, true}, {now.Add(yieldEvery / 2), false}, {now.Add(yieldEvery), true}} {
			ran := make(chan struct{}, 1)
			// goroutine: owner: this test; ends at once.
			go func() { ran <- struct{}{} }()
			if _, err := p.raw(0, one.at); err != nil {
				t.Fatal(err)
			}
			if yielded := len(ran) == 1; one.yields && !yielded {
				t.Errorf("%v after the first sleep: a goroutine that was ready has not run", one.at.Sub(now))
			}
			<-ran
		}
		p.brisk = briskStreak
		begin := time.Now()
		if n, err := p.Wait(20*time.Second, func(any, Events) {}); n != 0 || err != nil {
			t.Fatalf("Wait = %d, %v", n, err)
		}
		if took := time.Since(begin); took > 10*time.Second {
			t.Fatalf("a raw sleep with one processor took %v", took)
		}
	})
}
