package transportactors

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors/internal/testkit"
)

// child is a program that runs: it says a line and is told a line.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startChild(t testing.TB, name string) *child {
	t.Helper()
	c := &child{cmd: command(t, name)}
	c.cmd.Stderr = os.Stderr
	out, err := c.cmd.StdoutPipe()
	must(t, err)
	c.in, err = c.cmd.StdinPipe()
	must(t, err)
	c.out = bufio.NewReader(out)
	must(t, c.cmd.Start())
	return c
}

// sayFault ends a program that failed.
func sayFault(err error) {
	if err != nil {
		fmt.Println("failed:", err)
		testkit.Quit(1)
	}
}

// says is the next line of the child.
func (c *child) says(t testing.TB) string {
	t.Helper()
	line, err := c.out.ReadString('\n')
	if err != nil {
		t.Fatalf("the child ended: %q, %v", line, err)
	}
	return strings.TrimSpace(line)
}

// tell tells it a line.
func (c *child) tell(t testing.TB, line string) {
	t.Helper()
	_, err := fmt.Fprintln(c.in, line)
	must(t, err)
}

// end lets it end, and must like how.
func (c *child) end(t testing.TB) {
	t.Helper()
	must(t, c.in.Close())
	rest, _ := io.ReadAll(c.out)
	if err := c.cmd.Wait(); err != nil {
		t.Fatalf("the child ended with %v: %s", err, rest)
	}
}

// echoOnLoop serves an echo protocol on one loop and tells its processor time
// for every line it reads.
func echoOnLoop(tell func()) error {
	l, err := loopnode.New(loopnode.Config{Logger: hclog.NewNullLogger()})
	if err != nil {
		return err
	}
	_, err = loopnode.RunUntilComplete(l, loopnode.CreateTask(l.Context(context.Background()), "", func(ctx context.Context) (int, error) {
		s, err := CreateServer(ctx, func() Protocol { return &echoes{} }, "tcp", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		fmt.Println(s.Addrs()[0])
		go func() {
			tell()
			_ = l.Ref().CallSoonThreadsafe(s.Close)
		}()
		return 0, s.ServeForever(ctx)
	}))
	if errors.Is(err, loopnode.ErrCancelled) {
		err = nil
	}
	return errors.Join(err, l.Close())
}

// echoOnNet is the same with package net and a goroutine for each connection.
func echoOnNet(tell func()) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(ln.Addr())
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				b := make([]byte, 64<<10)
				for {
					n, err := c.Read(b)
					if err != nil {
						return
					}
					if _, err := c.Write(b[:n]); err != nil {
						return
					}
				}
			}()
		}
	}()
	tell()
	return ln.Close()
}

func tellTimes() {
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		user, system := processorTime()
		fmt.Println(user.Nanoseconds(), system.Nanoseconds())
	}
}

// processorTime is what this process has used so far.
func processorTime() (user, system time.Duration) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, 0
	}
	return time.Duration(u.Utime.Nano()), time.Duration(u.Stime.Nano())
}

// rival is an echo server in a process of its own and its clients.
type rival struct {
	name         string
	child        *child
	clients      []net.Conn
	took         time.Duration
	user, system time.Duration
}

func newRival(b *testing.B, name string, clients int) *rival {
	r := &rival{name: name, child: startChild(b, "echo-"+name)}
	address := r.child.says(b)
	for range clients {
		c, err := net.Dial("tcp", address)
		must(b, err)
		r.clients = append(r.clients, c)
	}
	return r
}

// times is the processor time the server has used so far.
func (r *rival) times(b *testing.B) (user, system time.Duration) {
	r.child.tell(b, "times")
	_, err := fmt.Sscan(r.child.says(b), &user, &system)
	must(b, err)
	return user, system
}

// round makes n round trips, shared by the clients.
func (r *rival) round(b *testing.B, n, size int) {
	user, system := r.times(b)
	r.exchange(b, n, size)
	u, s := r.times(b)
	r.user += u - user
	r.system += s - system
}

// exchange is round without asking for times.
func (r *rival) exchange(b *testing.B, n, size int) {
	began := time.Now()
	var all sync.WaitGroup
	for i, c := range r.clients {
		share := n / len(r.clients)
		if i < n%len(r.clients) {
			share++
		}
		all.Go(func() {
			message := make([]byte, size)
			for range share {
				if _, err := c.Write(message); err != nil {
					b.Error(err)
					return
				}
				if _, err := io.ReadFull(c, message); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	r.took += time.Since(began)
}

func (r *rival) end(b *testing.B) {
	for _, c := range r.clients {
		must(b, c.Close())
	}
	r.child.end(b)
}

// BenchmarkBesideNet is an echo server on one loop beside one of package net, in
// short rounds in turn, so that a noisy machine is as noisy for both. It reports
// time and the server's processor time for a request, and the loop's share of
// net's.
func BenchmarkBesideNet(b *testing.B) {
	for _, size := range []int{64, 1 << 10} {
		for _, clients := range []int{1, 64} {
			b.Run(fmt.Sprintf("%dB/%d", size, clients), func(b *testing.B) {
				ours, theirs := newRival(b, "loop", clients), newRival(b, "net", clients)
				const rounds = 500
				total := 0
				for b.Loop() {
					for _, r := range []*rival{ours, theirs} {
						r.round(b, rounds, size)
					}
					total += rounds
				}
				for _, r := range []*rival{ours, theirs} {
					per := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 / float64(total) }
					b.ReportMetric(per(r.took), r.name+"-µs/req")
					b.ReportMetric(per(r.user), r.name+"-user-µs/req")
					b.ReportMetric(per(r.user+r.system), r.name+"-cpu-µs/req")
					r.end(b)
				}
				b.ReportMetric(float64(ours.user)/float64(theirs.user), "user-ratio")
				b.ReportMetric(float64(ours.user+ours.system)/float64(theirs.user+theirs.system), "cpu-ratio")
				b.ReportMetric(float64(ours.took)/float64(theirs.took), "time-ratio")
			})
		}
	}
}
