package subprocess

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/internal/loopaccess"
	"github.com/loopmesh/loopmesh/internal/proc"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/loopnode/tasksync"
	"github.com/loopmesh/loopmesh/transportactors/internal/testkit"
)

const trueProgram = "/bin/true"

func benchLoop(b *testing.B, fn func(ctx context.Context) error) {
	b.Helper()
	l, err := loopnode.New(loopnode.Config{Logger: hclog.NewNullLogger()})
	testkit.Must(b, err)
	_, err = loopnode.RunUntilComplete(l, loopnode.CreateTask(l.Context(b.Context()), "bench", func(ctx context.Context) (int, error) {
		if err := fn(ctx); err != nil {
			return 0, err
		}
		return 0, l.ShutdownDefaultExecutor(ctx)
	}))
	testkit.Must(b, err)
	testkit.Must(b, l.Close())
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// BenchmarkSpawn starts a program that does nothing and waits for its end, in
// turn with os/exec, and reports both medians and their ratio.
func BenchmarkSpawn(b *testing.B) {
	benchLoop(b, func(ctx context.Context) error {
		var ours, theirs []time.Duration
		for b.Loop() {
			begin := time.Now()
			p, err := ExecProcess(ctx, []string{trueProgram}, noStdio)
			if err != nil {
				return err
			}
			if _, err := p.Wait(ctx); err != nil {
				return err
			}
			ours = append(ours, time.Since(begin))
			begin = time.Now()
			if err := exec.CommandContext(ctx, trueProgram).Run(); err != nil {
				return err
			}
			theirs = append(theirs, time.Since(begin))
		}
		us, them := median(ours), median(theirs)
		b.ReportMetric(float64(us.Microseconds()), "µs/loopmesh")
		b.ReportMetric(float64(them.Microseconds()), "µs/os-exec")
		b.ReportMetric(float64(us)/float64(them), "ratio")
		return nil
	})
}

// BenchmarkSpawnAtOnce starts 100 at once and reports how late the loop's timers
// were meanwhile: with the executor, as it is done, and with fork and exec on
// the loop itself.
func BenchmarkSpawnAtOnce(b *testing.B) {
	const many = 100
	for name, start := range map[string]func(ctx context.Context) error{
		"executor": func(ctx context.Context) error {
			p, err := ExecProcess(ctx, []string{trueProgram}, noStdio)
			if err == nil {
				_, err = p.Wait(ctx)
			}
			return err
		},
		"loop": func(ctx context.Context) error {
			child, err := proc.Start(proc.Spec{Path: trueProgram, Args: []string{trueProgram}, Env: os.Environ(), Files: []int{0, 1, 2}})
			if err != nil {
				return err
			}
			l, _ := loopnode.Running(ctx)
			gone := loopnode.NewFuture[int](l)
			w, err := loopaccess.Of(l).Watch(child.FD(), func() { _ = gone.SetResult(0) }, func() {})
			if err == nil {
				err = w.Set(true, false)
			}
			if err != nil {
				return err
			}
			_, err = gone.Await(ctx)
			w.Close()
			_, _, _ = child.Reap()
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			benchLoop(b, func(ctx context.Context) error {
				var late []time.Duration
				for b.Loop() {
					ticks := loopnode.CreateTask(ctx, "ticks", func(ctx context.Context) (int, error) {
						for {
							begin := time.Now()
							if err := loopnode.Sleep(ctx, time.Millisecond); err != nil {
								return 0, nil
							}
							late = append(late, time.Since(begin)-time.Millisecond)
						}
					})
					var tasks []loopnode.Awaitable[int]
					for range many {
						tasks = append(tasks, loopnode.CreateTask(ctx, "", func(ctx context.Context) (int, error) { return 0, start(ctx) }))
					}
					if _, err := loopnode.Gather(ctx, tasks...); err != nil {
						return err
					}
					ticks.Cancel()
					if _, err := ticks.Await(ctx); err != nil {
						return err
					}
				}
				slices.Sort(late)
				b.ReportMetric(float64(late[len(late)/2].Microseconds()), "µs-late-p50")
				b.ReportMetric(float64(late[len(late)-1].Microseconds()), "µs-late-max")
				return nil
			})
		})
	}
}

// BenchmarkSpawnStress starts 10 000 children, 200 at a time; every tenth is
// killed, every twentieth leaves a grandchild behind, which its group takes
// along. It fails when a zombie or a descriptor is left, or a code is wrong.
func BenchmarkSpawnStress(b *testing.B) {
	const total, atOnce = 10000, 200
	for b.Loop() {
		before := testkit.Descriptors()
		benchLoop(b, func(ctx context.Context) error {
			sem, err := tasksync.NewSemaphore(atOnce)
			if err != nil {
				return err
			}
			base := testkit.Descriptors()
			var tasks []loopnode.Awaitable[int]
			for i := range total {
				tasks = append(tasks, loopnode.CreateTask(ctx, "", func(ctx context.Context) (int, error) {
					if err := sem.Acquire(ctx); err != nil {
						return 0, err
					}
					defer sem.Release()
					return 0, stressOne(ctx, b, i)
				}))
			}
			_, err = loopnode.Gather(ctx, tasks...)
			for range 3 {
				testkit.Must(b, loopnode.Sleep(ctx, 0))
			}
			if left := children(b); len(left) > 0 || testkit.Descriptors() > base+2 {
				b.Errorf("%d children and %d descriptors left", len(left), testkit.Descriptors()-base)
			}
			return err
		})
		if after := testkit.Descriptors(); after > before+2 { // the runtime's own may have come
			b.Errorf("%d descriptors, %d before", after, before)
		}
	}
}

func stressOne(ctx context.Context, b *testing.B, i int) error {
	command, want := "exit 3", 3
	opts := []Option{noStdio, WithStdout(Pipe)}
	switch {
	case i%10 == 0:
		command, want = "exec sleep 100", -9
	case i%20 == 1:
		command, want, opts = "sleep 100 & exit 4", 4, append(opts, WithGroupKill())
	}
	p, err := ShellProcess(ctx, command, opts...)
	if err != nil {
		return err
	}
	if want < 0 {
		if err := p.Kill(); err != nil {
			return err
		}
	}
	out, _, err := p.Communicate(ctx, nil)
	if code, _ := p.Returncode(); code != want || len(out) > 0 {
		b.Errorf("child %d: %d, want %d, output %q", i, code, want, out)
	}
	return err
}
