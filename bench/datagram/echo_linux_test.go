package datagram

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/loopmesh/loopmesh/loopnode"
	"github.com/loopmesh/loopmesh/transportactors"
)

// The client is a process of its own, so that its work is neither on our
// processors' account nor in our scheduler.
const clientKey = "LOOPMESH_DATAGRAM_CLIENT"

const (
	message = 512
	chunk   = 512 // datagrams in one turn of a server
)

func TestMain(m *testing.M) {
	if os.Getenv(clientKey) != "" {
		client()
		return
	}
	os.Exit(m.Run())
}

// client reads "ADDRESS WINDOW" from its input, sends chunk datagrams there, at
// most WINDOW of them on their way, and prints the nanoseconds until all are back.
func client() {
	runtime.GOMAXPROCS(1)
	fds := map[netip.AddrPort]int{}
	buf := make([]byte, message)
	for {
		var at string
		var window int
		if _, err := fmt.Scan(&at, &window); err != nil {
			return
		}
		to := netip.MustParseAddrPort(at)
		fd, ok := fds[to]
		if !ok {
			fd, _ = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
			_ = unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
			fds[to] = fd
		}
		began := time.Now()
		for sent, back := 0, 0; back < chunk; back++ {
			for ; sent < chunk && sent-back < window; sent++ {
				if _, err := unix.Write(fd, buf); err != nil {
					fmt.Println(err)
					return
				}
			}
			if _, err := unix.Read(fd, buf); err != nil {
				fmt.Println(err)
				return
			}
		}
		fmt.Println(time.Since(began).Nanoseconds())
	}
}

// mirror sends every datagram back.
type mirror struct {
	t transportactors.DatagramTransport
}

func (m *mirror) ConnectionMade(t transportactors.DatagramTransport)   { m.t = t }
func (m *mirror) DatagramReceived(b []byte, from transportactors.Addr) { _ = m.t.SendTo(b, from) }
func (m *mirror) ErrorReceived(error)                                  {}
func (m *mirror) ConnectionLost(error)                                 {}
func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// onLoop is an endpoint of a loop.
func onLoop(b *testing.B) netip.AddrPort {
	l, err := loopnode.New(loopnode.Config{Logger: hclog.NewNullLogger()})
	must(b, err)
	address, ended := make(chan netip.AddrPort), make(chan error, 1)
	go func() {
		_, err := loopnode.RunUntilComplete(l, loopnode.CreateTask(l.Context(context.Background()), "serve", func(ctx context.Context) (int, error) {
			t, _, err := transportactors.CreateDatagramEndpoint(ctx, func() *mirror { return &mirror{} }, "udp4", "127.0.0.1:0", "")
			if err != nil {
				return 0, err
			}
			address <- t.ExtraInfo("sockname").(transportactors.Addr).AddrPort()
			return loopnode.NewFuture[int](l).Await(ctx)
		}))
		ended <- errors.Join(err, l.Close())
	}()
	b.Cleanup(func() {
		must(b, l.Ref().Stop())
		<-ended
	})
	return <-address
}

// onNet is a goroutine with package net.
func onNet(b *testing.B) netip.AddrPort {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(b, err)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buf := make([]byte, 1<<16)
		for {
			n, from, err := c.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteToUDPAddrPort(buf[:n], from)
		}
	}()
	b.Cleanup(func() { _ = c.Close(); <-ended })
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

// startClient returns a function that has the client send one chunk.
func startClient(b *testing.B) (ask func(at netip.AddrPort, window int) time.Duration) {
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), clientKey+"=1")
	in, err := cmd.StdinPipe()
	must(b, err)
	out, err := cmd.StdoutPipe()
	must(b, err)
	must(b, cmd.Start())
	b.Cleanup(func() { _ = in.Close(); _, _ = io.Copy(io.Discard, out); _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	return func(at netip.AddrPort, window int) time.Duration {
		_, err := fmt.Fprintln(in, at, window)
		must(b, err)
		if !lines.Scan() {
			b.Fatal("the client has ended", lines.Err())
		}
		var ns int64
		if _, err := fmt.Sscan(lines.Text(), &ns); err != nil {
			b.Fatal(lines.Text())
		}
		return time.Duration(ns)
	}
}

// cpu is the processor time of this process so far.
func cpu() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkEcho(b *testing.B) {
	for _, window := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("window=%d", window), func(b *testing.B) {
			servers, ask := []netip.AddrPort{onLoop(b), onNet(b)}, startClient(b)
			var wall, work [2]time.Duration
			var objects [2]uint64
			count := 0
			for b.Loop() {
				for i, at := range servers {
					var before, after runtime.MemStats
					runtime.ReadMemStats(&before)
					began := cpu()
					wall[i] += ask(at, window)
					work[i] += cpu() - began
					runtime.ReadMemStats(&after)
					objects[i] += after.Mallocs - before.Mallocs
				}
				count += chunk
			}
			each := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / float64(count) }
			for i, name := range []string{"loop", "net"} {
				b.ReportMetric(each(wall[i]), "ns/"+name)
				b.ReportMetric(each(work[i]), "cpu-ns/"+name)
				b.ReportMetric(float64(objects[i])/float64(count), "allocs/"+name)
			}
			b.ReportMetric(float64(wall[1])/float64(wall[0]), "ratio")
			b.ReportMetric(float64(work[1])/float64(work[0]), "cpu-ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}
