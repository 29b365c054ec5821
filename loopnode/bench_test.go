package loopnode

import (
	"context"
	"testing"
	"time"
)

func quiet(c *Config) { c.Stuck = -1 }

func BenchmarkCallSoon(b *testing.B) {
	l, _ := newLoop(b, quiet)
	const batch = 1000
	fn := func() {}
	b.ReportAllocs()
	for n := 0; n < b.N; n += batch {
		for range batch {
			l.CallSoon(fn)
		}
		l.run.left = l.digest()
		l.runBatch()
	}
}

func BenchmarkCallSoonThreadsafe(b *testing.B) {
	l, _ := newLoop(b, quiet)
	ref, fn, n := l.Ref(), func() {}, b.N
	spin := func() {}
	left := true
	spin = func() {
		if left {
			l.CallSoon(spin) // awake all the time
		}
	}
	l.CallSoon(spin)
	b.ReportAllocs()
	go func() {
		for range n {
			_ = ref.CallSoonThreadsafe(fn)
		}
		_ = ref.CallSoonThreadsafe(func() { left = false; l.Stop() })
	}()
	must(b, l.RunForever())
}

// benchSwitch has tasks give up their turn, b.N times in all.
func benchSwitch(b *testing.B, tasks int) {
	l, _ := newLoop(b, quiet)
	n := b.N/tasks + 1
	b.ReportAllocs()
	_, err := RunUntilComplete(l, CreateTask(l.Context(context.Background()), "", func(ctx context.Context) (int, error) {
		all := make([]Awaitable[int], tasks)
		for i := range all {
			all[i] = CreateTask(ctx, "", func(ctx context.Context) (int, error) {
				for range n {
					_ = Sleep(ctx, 0)
				}
				return 0, nil
			})
		}
		_, err := Gather(ctx, all...)
		return 0, err
	}))
	must(b, err)
}

// A task that is alone need not be suspended to give up its turn.
func BenchmarkTaskYieldAlone(b *testing.B) { benchSwitch(b, 1) }

// Half a turn of the loop for each switch.
func BenchmarkTaskSwitch(b *testing.B) { benchSwitch(b, 2) }

func BenchmarkTaskSwitch100(b *testing.B) { benchSwitch(b, 100) }

// A whole turn for each switch: without the short way of a task that is alone.
func BenchmarkTaskSwitchTurn(b *testing.B) {
	l, _ := newLoop(b, quiet)
	n := b.N
	b.ReportAllocs()
	_, err := RunUntilComplete(l, CreateTask(l.Context(context.Background()), "", func(ctx context.Context) (int, error) {
		t := taskOf(ctx)
		for range n {
			_ = t.owned()
			t.schedule()
			_ = t.suspend()
		}
		return 0, nil
	}))
	must(b, err)
}

func BenchmarkTaskSpawn(b *testing.B) {
	l, _ := newLoop(b, quiet)
	body := func(context.Context) (int, error) { return 0, nil }
	n := b.N
	b.ReportAllocs()
	_, err := RunUntilComplete(l, CreateTask(l.Context(context.Background()), "", func(ctx context.Context) (int, error) {
		for i := range n {
			CreateTask(ctx, "t", body)
			if i%100 == 99 {
				_ = Sleep(ctx, 0)
			}
		}
		return 0, nil
	}))
	must(b, err)
}

func BenchmarkTimers(b *testing.B) {
	l, _ := newLoop(b, quiet)
	for i := range 100_000 {
		l.CallLater(time.Hour+time.Duration(i), func() {})
	}
	fn := func() {}
	b.ReportAllocs()
	for n := 0; n < b.N; n += 100 {
		for range 100 {
			l.CallAt(0, fn)
		}
		l.run.left = l.digest()
		l.runBatch()
	}
}
