//go:build unix

package loopnode

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"
)

// childEnv names the part a fresh process of this test program plays.
const childEnv = "LOOPMESH_TEST_CHILD"

func freshProcess(ctx context.Context, part string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestFreshProcess$", "-test.count=1")
	cmd.Env = append(os.Environ(), childEnv+"="+part)
	return cmd
}

func TestFreshProcess(t *testing.T) {
	switch os.Getenv(childEnv) {
	case "child":
		beChild(t)
		return
	case "grandchild":
		fmt.Println("hello from the grandchild")
		return
	}
	t.Run("INT-01 a child process has no loop and no task of its parent's, and runs its own", func(t *testing.T) {
		inTask(t, func(ctx context.Context, l *Loop) error {
			signals := 0
			if err := l.AddSignalHandler(syscall.SIGUSR1, func() { signals++ }); err != nil {
				return err
			}
			out, err := ToThread(ctx, func(ctx context.Context) ([]byte, error) { return freshProcess(ctx, "child").CombinedOutput() })
			if err != nil || !strings.Contains(string(out), "child: done") || !strings.Contains(string(out), "hello from the grandchild") {
				t.Errorf("%v: %s", err, out)
			}
			_ = Sleep(ctx, 0)
			if signals != 0 {
				t.Error("a signal of the child reached the parent's loop")
			}
			if _, on := CurrentTask(ctx); !on {
				t.Error("the parent's task is lost")
			}
			return nil
		})
	})
}

// beChild is what the child checks.
func beChild(t *testing.T) {
	if _, err := Running(context.Background()); !errors.Is(err, ErrNoRunningLoop) {
		t.Error("a running loop:", err)
	}
	if _, on := CurrentTask(context.Background()); on || onLoop() || running.sole.Load() != nil {
		t.Error("a current task, or a loop that runs")
	}
	if _, err := EventLoop(context.Background()); !errors.Is(err, ErrNoCurrentLoop) {
		t.Error("a current loop:", err)
	}
	witness := make(chan os.Signal, 1)
	signal.Notify(witness, syscall.SIGUSR1)
	defer signal.Stop(witness)
	limit, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	err := Run(limit, func(ctx context.Context) error {
		l, err := Running(ctx)
		if err != nil {
			return err
		}
		got := NewFuture[int](l)
		if err := l.AddSignalHandler(syscall.SIGUSR1, func() { _ = got.SetResult(1) }); err != nil {
			return err
		}
		if err := syscall.Kill(os.Getpid(), syscall.SIGUSR1); err != nil {
			return err
		}
		if _, err := got.Await(ctx); err != nil {
			return fmt.Errorf("the child's own signal: %w", err)
		}
		if err := Sleep(ctx, time.Millisecond); err != nil {
			return err
		}
		out, err := ToThread(ctx, func(ctx context.Context) ([]byte, error) { return freshProcess(ctx, "grandchild").CombinedOutput() })
		fmt.Println(string(out))
		return err
	})
	if err != nil {
		t.Error(err)
	}
	fmt.Println("child: done")
}
