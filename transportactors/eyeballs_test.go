package transportactors

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/internal/sock"
	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/loopnode/looptest"
)

// virtually runs fn as a task of a loop whose clock jumps.
func virtually(t *testing.T, fn func(ctx context.Context, l *loopnode.Loop) error) {
	t.Helper()
	l, _, err := looptest.New(loopnode.Config{Logger: hclog.NewNullLogger()})
	must(t, err)
	defer func() { must(t, l.Close()) }()
	_, err = loopnode.RunUntilComplete(l, loopnode.CreateTask(l.Context(context.Background()), "test", func(ctx context.Context) (int, error) {
		return 0, fn(ctx, l)
	}))
	must(t, err)
}

// field makes attempts and writes down what becomes of them.
type field struct {
	loop   *loopnode.Loop
	log    []string
	lost   []int
	active int
}

func (f *field) say(what string, i int) {
	f.log = append(f.log, fmt.Sprintf("%dms %s %d", time.Duration(f.loop.Time())/time.Millisecond, what, i))
}

// answers is an attempt that gets descriptor i, or err, after d.
func (f *field) answers(i int, d time.Duration, err error) attempt {
	return func(ctx context.Context) (int, error) {
		f.say("start", i)
		f.active++
		defer func() { f.active-- }()
		if e := loopnode.Sleep(ctx, d); e != nil {
			f.say("cancelled", i)
			return -1, e
		}
		return i, err
	}
}

// stubborn does not care for being cancelled.
func (f *field) stubborn(i int, d time.Duration) attempt {
	return func(ctx context.Context) (int, error) {
		_ = loopnode.Sleep(ctx, d)
		return i, nil
	}
}

func (f *field) lose(fd int) { f.lost = append(f.lost, fd) }

func (f *field) want(fd int, err error, wantFD int, log ...string) error {
	if err != nil || fd != wantFD || !slices.Equal(f.log, log) || f.active != 0 {
		return fmt.Errorf("got %d, %w, %q, %d active; want %d, %q", fd, err, f.log, f.active, wantFD, log)
	}
	return nil
}

func TestRace(t *testing.T) {
	const ms = time.Millisecond
	refused, unreachable := errors.New("refused"), errors.New("unreachable")
	t.Run("CON-13 attempts start staggered, the first that answers wins, the others are cancelled", func(t *testing.T) {
		virtually(t, func(ctx context.Context, l *loopnode.Loop) error {
			f := &field{loop: l}
			fd, _, err := race(ctx, 100*ms, []attempt{
				f.answers(0, time.Hour, nil), f.answers(1, 150*ms, nil), f.answers(2, time.Hour, nil), f.answers(3, 0, nil),
			}, f.lose)
			return f.want(fd, err, 1, "0ms start 0", "100ms start 1", "200ms start 2", "250ms cancelled 0", "250ms cancelled 2")
		})
		virtually(t, func(ctx context.Context, l *loopnode.Loop) error { // a failure starts the next at once
			f := &field{loop: l}
			fd, _, err := race(ctx, 100*ms, []attempt{f.answers(0, 30*ms, refused), f.answers(1, 10*ms, nil)}, f.lose)
			return f.want(fd, err, 1, "0ms start 0", "30ms start 1")
		})
		virtually(t, func(ctx context.Context, l *loopnode.Loop) error { // a slow first may still win
			f := &field{loop: l}
			fd, _, err := race(ctx, 100*ms, []attempt{f.answers(0, 120*ms, nil), f.answers(1, 50*ms, nil)}, f.lose)
			return f.want(fd, err, 0, "0ms start 0", "100ms start 1", "120ms cancelled 1")
		})
		virtually(t, func(ctx context.Context, l *loopnode.Loop) error {
			f := &field{loop: l}
			fd, failed, err := race(ctx, 100*ms, []attempt{f.answers(0, 150*ms, refused), f.answers(1, 0, unreachable)}, f.lose)
			if !slices.Equal(failed, []error{refused, unreachable}) {
				return fmt.Errorf("failed with %v", failed)
			}
			return f.want(fd, err, -1, "0ms start 0", "100ms start 1")
		})
		o := options{delay: ms, interleave: -1}
		if got := inWords(interleave(addresses("4a 4b 6a"), o)); got != "4a 6a 4b" {
			t.Fatalf("with a delay the order is %s", got)
		}
	})
	t.Run("CON-14 of two that answer at once one wins and the other is let go; nothing runs on", func(t *testing.T) {
		virtually(t, func(ctx context.Context, l *loopnode.Loop) error {
			f := &field{loop: l}
			fd, _, err := race(ctx, 100*ms, []attempt{f.answers(0, 200*ms, nil), f.answers(1, 100*ms, nil)}, f.lose)
			if len(f.lost) != 1 || f.lost[0] == fd {
				return fmt.Errorf("%d won, %v lost", fd, f.lost)
			}
			return f.want(fd, err, fd, "0ms start 0", "100ms start 1")
		})
		virtually(t, func(ctx context.Context, l *loopnode.Loop) error { // one that wins although cancelled
			f := &field{loop: l}
			fd, _, err := race(ctx, 10*ms, []attempt{f.stubborn(0, time.Hour), f.answers(1, 0, nil)}, f.lose)
			if !slices.Equal(f.lost, []int{0}) {
				return fmt.Errorf("%v lost", f.lost)
			}
			return f.want(fd, err, 1, "10ms start 1")
		})
		virtually(t, func(ctx context.Context, l *loopnode.Loop) error { // the caller is cancelled
			f := &field{loop: l}
			outer := loopnode.CreateTask(ctx, "", func(ctx context.Context) (int, error) {
				fd, _, err := race(ctx, 10*ms, []attempt{f.answers(0, time.Hour, nil), f.answers(1, time.Hour, nil), f.stubborn(2, time.Hour)}, f.lose)
				return fd, err
			})
			l.CallLater(time.Second, func() { outer.Cancel() })
			if _, err := outer.Await(ctx); !errors.Is(err, loopnode.ErrCancelled) || f.active != 0 || !slices.Equal(f.lost, []int{2}) {
				return fmt.Errorf("%v, %d active, %v lost", err, f.active, f.lost)
			}
			if n := len(loopnode.AllTasks(l)); n != 1 {
				return fmt.Errorf("%d tasks are left", n)
			}
			return nil
		})
		virtually(t, func(ctx context.Context, l *loopnode.Loop) error {
			fd, failed, err := race(ctx, 10*ms, nil, func(int) {})
			if fd != -1 || err != nil || len(failed) != 0 || !errors.Is(together(failed), loopnode.ErrTimeout) {
				return fmt.Errorf("an empty race gave %d, %v, %w", fd, failed, err)
			}
			return nil
		})
	})
}

// addresses makes one address for each word: its family and a letter.
func addresses(words string) (out []net.Addr) {
	for _, w := range []byte(words) {
		switch w {
		case '4':
			out = append(out, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		case '6':
			out = append(out, &net.TCPAddr{IP: net.IPv6loopback})
		case ' ':
		default:
			out[len(out)-1].(*net.TCPAddr).Port = int(w)
		}
	}
	return out
}

func inWords(all []net.Addr) (words string) {
	for _, a := range all {
		if words != "" {
			words += " "
		}
		words += map[sock.Family]string{sock.IPv4: "4", sock.IPv6: "6"}[sock.FamilyOf(a)] + string(rune(a.(*net.TCPAddr).Port))
	}
	return words
}

func TestInterleave(t *testing.T) {
	t.Run("CON-15 the first family leads, then the families take turns", func(t *testing.T) {
		for _, c := range []struct {
			in   string
			n    int
			want string
		}{
			{"6a 6b 4a 4b", 0, "6a 6b 4a 4b"},
			{"6a 6b 4a 4b", -1, "6a 6b 4a 4b"},
			{"6a 6b 6c 4a 4b", 1, "6a 4a 6b 4b 6c"},
			{"6a 6b 6c 4a 4b", 2, "6a 6b 4a 6c 4b"},
			{"4a 6a 4b 6b 4c", 1, "4a 6a 4b 6b 4c"},
			{"4a 4b 4c 6a", 3, "4a 4b 4c 6a"},
			{"4a 4b 6a", 9, "4a 4b 6a"},
			{"", 1, ""},
		} {
			if got := inWords(interleave(addresses(c.in), options{interleave: c.n})); got != c.want {
				t.Errorf("%q with %d gave %q, want %q", c.in, c.n, got, c.want)
			}
		}
	})
}

func TestAllErrors(t *testing.T) {
	t.Run("CON-11 all errors come as a group on request, otherwise the first, or all in one text", func(t *testing.T) {
		inLoop(t, func(ctx context.Context, _ *[]loopnode.ExceptionContext) error {
			s, err := serve(ctx, newProbe(ctx))
			if err != nil {
				return err
			}
			at := s.Addrs()[0].String()
			s.Close()
			for _, delay := range []time.Duration{0, time.Second} {
				_, err = OpenConnection(ctx, "tcp", at, WithAllErrors(), WithHappyEyeballs(delay))
				var all interface{ Unwrap() []error }
				if !errors.As(err, &all) || len(all.Unwrap()) != 1 {
					return fmt.Errorf("got %v", err)
				}
			}
			one, two := errors.New("one"), errors.New("two")
			if err := together([]error{one, errors.New("one")}); err != one {
				return fmt.Errorf("two alike gave %v", err)
			}
			if err := together([]error{one, two}); err.Error() != "multiple exceptions: one, two" || !errors.Is(err, two) {
				return fmt.Errorf("two gave %v", err)
			}
			return nil
		})
	})
}
