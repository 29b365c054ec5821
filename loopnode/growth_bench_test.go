package loopnode

import (
	"context"
	"math/rand/v2"
	"runtime"
	"strconv"
	"testing"
	"time"
)

// BenchmarkGrowth is what one of many costs, for timers, tasks and waiters of one future:
// a program that grows must not become slow. An iteration makes all of them and ends them.
func BenchmarkGrowth(b *testing.B) {
	for _, n := range []int{1000, 100_000, 1_000_000} {
		b.Run("timers="+strconv.Itoa(n), func(b *testing.B) { benchTimers(b, n) })
	}
	for _, n := range []int{100, 10_000, 1_000_000} {
		b.Run("tasks="+strconv.Itoa(n), func(b *testing.B) { benchTasks(b, n) })
	}
	for _, n := range []int{1000, 100_000, 1_000_000} {
		b.Run("waiters="+strconv.Itoa(n), func(b *testing.B) { benchWaiters(b, n) })
	}
}

// stopwatch adds up what the parts of a benchmark took.
type stopwatch struct {
	b     *testing.B
	n     int // of what is in an iteration
	since time.Time
	parts map[string]time.Duration
}

func newStopwatch(b *testing.B, n int) *stopwatch {
	return &stopwatch{b: b, n: n, parts: map[string]time.Duration{}}
}

func (s *stopwatch) start() {
	runtime.GC() // the garbage of the part before is not this one's
	s.since = time.Now()
}

func (s *stopwatch) stop(part string) { s.parts[part] += time.Since(s.since) }

// report tells what one of n took in each part.
func (s *stopwatch) report() {
	s.b.ReportMetric(0, "ns/op") // an iteration of all parts together says nothing
	for part, took := range s.parts {
		s.b.ReportMetric(float64(took.Nanoseconds())/float64(s.b.N)/float64(s.n), "ns/"+part)
	}
}

func benchTimers(b *testing.B, n int) {
	l, _ := newLoop(b, quiet)
	clock, fired := newStopwatch(b, n), 0
	fn, handles := func() { fired++ }, make([]*TimerHandle, n)
	order := rand.New(rand.NewPCG(1, 1)).Perm(n)
	for b.Loop() {
		clock.start()
		for i := range handles {
			handles[i] = l.CallLater(time.Hour+time.Duration(order[i])*time.Microsecond, fn)
		}
		clock.stop("insert")
		clock.start()
		for _, i := range order {
			handles[i].Cancel()
		}
		clock.stop("cancel")
		for i := range handles {
			handles[i] = l.CallAt(Instant(order[i]), fn) // all of them are due
		}
		clock.start()
		l.run.left = l.digest()
		l.runBatch()
		clock.stop("fire")
	}
	if fired != b.N*n {
		b.Fatal("fired", fired, "of", b.N*n)
	}
	clock.report()
}

// benchTasks starts tasks that wait, has them pass the turn on, and lets them end.
func benchTasks(b *testing.B, n int) {
	l, _ := newLoop(b, quiet)
	clock, rounds := newStopwatch(b, n), max(1, 1_000_000/n)
	var before, after runtime.MemStats
	_, err := RunUntilComplete(l, CreateTask(l.Context(context.Background()), "", func(ctx context.Context) (int, error) {
		for b.Loop() {
			begin, passed, end := NewFuture[int](l), NewFuture[int](l), NewFuture[int](l)
			left, tasks := n, make([]*Task[int], n)
			body := func(ctx context.Context) (int, error) {
				_, _ = begin.Await(ctx)
				for range rounds {
					_ = Sleep(ctx, 0)
				}
				if left--; left == 0 {
					_ = passed.SetResult(0)
				}
				return end.Await(ctx)
			}
			runtime.ReadMemStats(&before)
			clock.start()
			for i := range tasks {
				tasks[i] = CreateTask(ctx, "", body)
			}
			_ = Sleep(ctx, 0) // now each of them waits
			clock.stop("start")
			runtime.ReadMemStats(&after)
			clock.start()
			_ = begin.SetResult(0)
			_, _ = passed.Await(ctx)
			clock.stop("switch")
			clock.start()
			_ = end.SetResult(0)
			for _, t := range tasks {
				if _, err := t.Await(ctx); err != nil {
					return 0, err
				}
			}
			clock.stop("end")
		}
		return 0, nil
	}))
	must(b, err)
	clock.parts["switch"] /= time.Duration(rounds)
	b.ReportMetric((float64(after.HeapInuse+after.StackInuse)-float64(before.HeapInuse+before.StackInuse))/float64(n), "B/task")
	clock.report()
}

func benchWaiters(b *testing.B, n int) {
	l, _ := newLoop(b, quiet)
	clock := newStopwatch(b, n)
	order := rand.New(rand.NewPCG(1, 1)).Perm(n)
	for b.Loop() {
		f, ids := NewFuture[int](l), make([]CallbackID, n)
		for i := range ids {
			ids[i] = f.AddDoneCallback(func(*Future[int]) { b.Error("called") })
		}
		clock.start()
		for _, i := range order {
			if f.RemoveDoneCallback(ids[i]) != 1 {
				b.Fatal("not there")
			}
		}
		clock.stop("leave")
	}
	clock.report()
}
