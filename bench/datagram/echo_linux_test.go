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

	"github.com/loopmesh/loopmesh/internal/sock"
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

// client reads "ADDRESS PEERS WINDOW" from its input, sends chunk datagrams there, from
// PEERS addresses, at most WINDOW of them on their way, and prints the nanoseconds until
// all are back.
func client() {
	runtime.GOMAXPROCS(1)
	kept := map[string]*sender{}
	for {
		var at string
		var peers, window int
		if _, err := fmt.Scan(&at, &peers, &window); err != nil {
			return
		}
		key := fmt.Sprint(at, peers)
		if kept[key] == nil {
			kept[key] = newSender(netip.MustParseAddrPort(at), peers)
		}
		began := time.Now()
		if err := kept[key].run(window); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(time.Since(began).Nanoseconds())
	}
}

// sender is one socket of the client. It receives many with one call, and one peer sends
// so, too, because the server is what is measured. Many peers are addresses of loopback,
// which each datagram names (IP_PKTINFO).
type sender struct {
	fd      int
	to      unix.Sockaddr
	from    [][]byte
	in      sock.Inbox
	out     *sock.Outbox
	segment int
	buf     []byte
}

func newSender(to netip.AddrPort, peers int) *sender {
	s := &sender{to: &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}, out: sock.NewOutbox(), buf: make([]byte, message)}
	s.fd, _ = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	s.in.SetRoom(make([]byte, 64*sock.MaxUDP), sock.MaxUDP)
	s.segment = sock.Segments(s.fd)
	if peers == 1 {
		_ = unix.Connect(s.fd, s.to)
		return s
	}
	_ = unix.Bind(s.fd, &unix.SockaddrInet4{})
	for i := range peers {
		s.from = append(s.from, unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: [4]byte{127, 0, 1, byte(i)}}))
	}
	return s
}

func (s *sender) run(window int) error {
	for sent, back := 0, 0; back < chunk; {
		next := min(chunk, back+window)
		if err := s.send(sent, next); err != nil {
			return err
		}
		sent = next
		if _, err := unix.Read(s.fd, s.buf); err != nil {
			return err
		}
		back++
		if more, err := s.in.Receive(s.fd, s.in.Room()); err == nil {
			back += more
		}
	}
	return nil
}

// send sends datagrams number first to next.
func (s *sender) send(first, next int) (err error) {
	for i := first; i < next && err == nil; i++ {
		if s.from != nil {
			err = unix.Sendmsg(s.fd, s.buf, s.from[i%len(s.from)], s.to, 0)
		} else {
			s.out.Add(s.buf, sock.Name{})
		}
	}
	if s.from == nil {
		_, err = s.out.Send(s.fd, 0, &s.segment)
		s.out.Clear()
	}
	return err
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
func startClient(b *testing.B) (ask func(at netip.AddrPort, peers, window int) time.Duration) {
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), clientKey+"=1")
	in, err := cmd.StdinPipe()
	must(b, err)
	out, err := cmd.StdoutPipe()
	must(b, err)
	must(b, cmd.Start())
	b.Cleanup(func() { _ = in.Close(); _, _ = io.Copy(io.Discard, out); _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	return func(at netip.AddrPort, peers, window int) time.Duration {
		_, err := fmt.Fprintln(in, at, peers, window)
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
	for _, c := range []struct{ peers, window int }{{1, 1}, {1, 8}, {1, 64}, {64, 64}} {
		b.Run(fmt.Sprintf("peers=%d/window=%d", c.peers, c.window), func(b *testing.B) {
			servers, ask := []netip.AddrPort{onLoop(b), onNet(b)}, startClient(b)
			var wall, work [2]time.Duration
			var objects [2]uint64
			count := 0
			for b.Loop() {
				for i, at := range servers {
					var before, after runtime.MemStats
					runtime.ReadMemStats(&before)
					began := cpu()
					wall[i] += ask(at, c.peers, c.window)
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
