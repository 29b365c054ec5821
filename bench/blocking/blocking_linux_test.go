package blocking

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// cpu is the processor time this process has used.
func cpu(b testing.TB) time.Duration {
	var u unix.Rusage
	must(b, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// report gives the percentiles of durations in µs.
func report(b *testing.B, name string, all []time.Duration) {
	slices.Sort(all)
	at := func(part float64) float64 {
		return float64(all[int(part*float64(len(all)-1))].Nanoseconds()) / 1e3
	}
	b.ReportMetric(at(0.5), name+"p50-µs")
	b.ReportMetric(at(0.99), name+"p99-µs")
}

func each(b *testing.B, body func(b *testing.B, w waiter, s *set)) {
	for _, c := range candidates {
		b.Run(c.name, func(b *testing.B) {
			w, s := c.make(b)
			defer w.close()
			body(b, w, s)
		})
	}
}

// BenchmarkEcho answers messages of 1 KiB from another process.
func BenchmarkEcho(b *testing.B) {
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprintf("conns=%d", n), func(b *testing.B) {
			each(b, func(b *testing.B, w waiter, s *set) {
				fds, stop := startPeer(b, "echo", n, 0)
				defer stop()
				for _, fd := range fds {
					s.add(b, fd, unix.EPOLLIN)
				}
				echo(w, s, 2000) // warm
				b.ResetTimer()
				before := cpu(b)
				done := echo(w, s, b.N)
				b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/float64(done)/1e3, "cpu-µs/op")
			})
		})
	}
}

func echo(w waiter, s *set, n int) (done int) {
	var buf [message]byte
	for done < n {
		for _, ev := range s.events[:w.wait()] {
			k, err := unix.Read(int(ev.Fd), buf[:])
			if err != nil || k == 0 {
				continue
			}
			unix.Write(int(ev.Fd), buf[:k])
			done++
		}
	}
	return done
}

// BenchmarkWake is a goroutine that wakes the loop and waits for its answer on
// a channel: what a call from an executor or another loop costs.
func BenchmarkWake(b *testing.B) {
	for _, pause := range []time.Duration{0, 5 * time.Millisecond} {
		b.Run(fmt.Sprintf("pause=%v", pause), func(b *testing.B) {
			each(b, func(b *testing.B, w waiter, s *set) {
				s.wakeable(b)
				answer := make(chan struct{})
				var over atomic.Bool
				var loop sync.WaitGroup
				loop.Add(1)
				// goroutine: owner: this benchmark; ends at the wake after over.
				go func() {
					defer loop.Done()
					for {
						if w.wait() == 0 {
							continue
						}
						if over.Load() {
							return
						}
						answer <- struct{}{}
					}
				}()
				var took []time.Duration
				before := cpu(b)
				for b.Loop() {
					if pause > 0 {
						<-time.After(pause)
					}
					start := time.Now()
					s.wake()
					<-answer
					took = append(took, time.Since(start))
				}
				b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/float64(len(took))/1e3, "cpu-µs/op")
				report(b, "", took)
				over.Store(true)
				s.wake()
				loop.Wait()
			})
		})
	}
}

// BenchmarkExecutor answers messages of 1 KiB from another process after a
// goroutine has seen them: what a loop does that hands work to an executor.
func BenchmarkExecutor(b *testing.B) {
	each(b, func(b *testing.B, w waiter, s *set) {
		fds, stop := startPeer(b, "echo", 1, 0)
		defer stop()
		s.add(b, fds[0], unix.EPOLLIN)
		s.wakeable(b)
		work := make(chan int, 1)
		defer close(work)
		var size atomic.Int64
		// goroutine: owner: this benchmark; ends when work is closed.
		go func() {
			for n := range work {
				size.Store(int64(n))
				s.wake()
			}
		}()
		var buf [message]byte
		done := 0
		before := cpu(b)
		for done < b.N {
			for _, ev := range s.events[:w.wait()] {
				if int(ev.Fd) == s.wakeFD {
					unix.Write(fds[0], buf[:size.Load()])
					done++
				} else if n, _ := unix.Read(fds[0], buf[:]); n > 0 {
					work <- n
				}
			}
		}
		b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/float64(done)/1e3, "cpu-µs/op")
	})
}

// BenchmarkTimer is how late a timerfd in the set ends a sleep.
func BenchmarkTimer(b *testing.B) {
	for _, d := range []time.Duration{300 * time.Microsecond, 3700 * time.Microsecond} {
		b.Run(d.String(), func(b *testing.B) {
			each(b, func(b *testing.B, w waiter, s *set) {
				fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
				must(b, err)
				defer unix.Close(fd)
				s.add(b, fd, unix.EPOLLIN|unix.EPOLLET)
				var late []time.Duration
				var ticks [8]byte
				spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
				before := cpu(b)
				for b.Loop() {
					start := time.Now()
					must(b, unix.TimerfdSettime(fd, 0, &spec, nil))
					for w.wait() == 0 {
					}
					unix.Read(fd, ticks[:])
					late = append(late, time.Since(start)-d)
				}
				b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/float64(len(late))/1e3, "cpu-µs/op")
				report(b, "late-", late)
			})
		})
	}
}

// BenchmarkTimerMillis is epoll_wait's own timeout for 300 µs, rounded up: what
// the timerfd is compared with.
func BenchmarkTimerMillis(b *testing.B) {
	s := newSet(b)
	defer raw{s}.close()
	var late []time.Duration
	for b.Loop() {
		start := time.Now()
		s.poll(1)
		late = append(late, time.Since(start)-300*time.Microsecond)
	}
	report(b, "late-", late)
}

// BenchmarkNearIdle is two loops, each woken every 3 ms from another process,
// beside an ordinary goroutine that wants to run every 2 ms. Read cpu-ms/s
// and the goroutine's delay.
func BenchmarkNearIdle(b *testing.B) {
	for _, c := range candidates {
		b.Run(c.name, func(b *testing.B) {
			fds, stop := startPeer(b, "tick", 2, 3*time.Millisecond)
			defer stop()
			var over atomic.Bool
			var loops sync.WaitGroup
			for _, fd := range fds {
				w, s := c.make(b)
				s.add(b, fd, unix.EPOLLIN)
				loops.Add(1)
				// goroutine: owner: this benchmark; ends at the first event after over.
				go func() {
					defer loops.Done()
					defer w.close()
					var buf [64]byte
					for !over.Load() {
						for _, ev := range s.events[:w.wait()] {
							unix.Read(int(ev.Fd), buf[:])
						}
					}
				}()
			}
			ping, pong := make(chan time.Time), make(chan time.Duration)
			// goroutine: owner: this benchmark; ends when ping is closed.
			go func() {
				for sent := range ping {
					pong <- time.Since(sent)
				}
			}()
			var delays []time.Duration
			before := cpu(b)
			for b.Loop() {
				due := time.Now().Add(2 * time.Millisecond)
				<-time.After(2 * time.Millisecond)
				ping <- due
				delays = append(delays, <-pong)
			}
			b.ReportMetric((cpu(b)-before).Seconds()*1e3/b.Elapsed().Seconds(), "cpu-ms/s")
			report(b, "delay-", delays)
			close(ping)
			over.Store(true)
			loops.Wait()
		})
	}
}
