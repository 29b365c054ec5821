package transportactors

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/loopmesh/loopmesh/loopnode"
)

// rivals are two TLS echo servers: one of ours, one of package net with a
// goroutine for each connection.
type rivals struct {
	ours, nets string
	stop       func()
}

func newRivals(b *testing.B) rivals {
	b.Helper()
	cfg := theTLSWorld().serverConfig()
	l, err := loopnode.New(loopnode.Config{Logger: hclog.NewNullLogger()})
	must(b, err)
	address, ended := make(chan string), make(chan error, 1)
	// goroutine: owner: the benchmark; ends with the loop.
	go func() {
		_, err := loopnode.RunUntilComplete(l, loopnode.CreateTask(l.Context(context.Background()), "serve", func(ctx context.Context) (int, error) {
			s, err := CreateServer(ctx, func() Protocol { return &echoes{} }, "tcp", "127.0.0.1:0", WithTLS(cfg))
			if err != nil {
				return 0, err
			}
			address <- s.Addrs()[0].String()
			return 0, s.ServeForever(ctx)
		}))
		_ = l.Close()
		ended <- err
	}()
	ln, err := tls.Listen("tcp", "127.0.0.1:0", cfg)
	must(b, err)
	// goroutine: owner: the benchmark; ends when the listener is closed.
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			// goroutine: owner: its connection; ends with it.
			go echoTLS(c)
		}
	}()
	return rivals{<-address, ln.Addr().String(), func() {
		_ = ln.Close()
		must(b, l.Ref().Stop())
		<-ended
	}}
}

func echoTLS(c net.Conn) {
	defer c.Close()
	buf := make([]byte, 1024)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
	}
}

// BenchmarkTLSEcho is round trips of 1 KiB on open connections, the two servers
// in turns. The clients are another process, as they are in life: in one
// process the runtime hands the bytes over from goroutine to goroutine.
func BenchmarkTLSEcho(b *testing.B) {
	for _, conns := range []int{1, 16, 64} {
		b.Run(strconv.Itoa(conns), func(b *testing.B) { inTurns(b, job{"echo", conns, 16000 / conns}) })
	}
}

// BenchmarkTLSHandshake is full TLS 1.3 handshakes from 4 clients at a time,
// each with one round trip.
func BenchmarkTLSHandshake(b *testing.B) { inTurns(b, job{"shake", 4, 100}) }

// inTurns gives both servers the same job in turns and compares.
func inTurns(b *testing.B, j job) {
	r := newRivals(b)
	defer r.stop()
	var mine, theirs cost
	for b.Loop() {
		j.against(b, r.ours, &mine)
		j.against(b, r.nets, &theirs)
	}
	total := float64(b.N * j.clients * j.each)
	b.ReportMetric(total/mine.wall.Seconds(), "ours/s")
	b.ReportMetric(total/theirs.wall.Seconds(), "net/s")
	b.ReportMetric(theirs.wall.Seconds()/mine.wall.Seconds(), "ratio")
	b.ReportMetric(theirs.cpu.Seconds()/mine.cpu.Seconds(), "cpu-ratio") // net computes on all processors, a loop on one
	b.ReportMetric(mine.cpu.Seconds()/total*1e6, "ours-cpu-µs/op")
	b.ReportMetric(theirs.cpu.Seconds()/total*1e6, "net-cpu-µs/op")
}

// cost is what the clients waited and what this process computed meanwhile: on
// a busy machine the second is the steadier one.
type cost struct{ wall, cpu time.Duration }

func cpuTime() time.Duration {
	var r unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkTLSIdle is what a connection costs the server's heap and stacks when
// it has echoed 1 KiB and rests. The clients are another process.
func BenchmarkTLSIdle(b *testing.B) {
	if isChild(b) {
		return
	}
	const conns = 500
	r := newRivals(b)
	defer r.stop()
	var mine, theirs float64
	for b.Loop() {
		mine += idleCost(b, r.ours, conns)
		theirs += idleCost(b, r.nets, conns)
	}
	b.ReportMetric(mine/float64(b.N), "ours-B/conn")
	b.ReportMetric(theirs/float64(b.N), "net-B/conn")
	b.ReportMetric(mine/theirs, "share")
}

func idleCost(b *testing.B, address string, conns int) float64 {
	before := inUse()
	c := startClients(b, job{"idle", conns, 1}, address)
	cost := (inUse() - before) / float64(conns)
	c.end(b)
	return cost
}

// inUse is heap and stacks in use.
func inUse() float64 {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc + m.StackInuse)
}

// job is what the clients do.
type job struct {
	kind          string // echo, shake, idle
	clients, each int
}

const (
	jobEnv   = "LOOPMESH_TLS_JOB"
	jobReady = "clients took "
)

func (j job) against(b *testing.B, address string, sum *cost) {
	before := cpuTime()
	c := startClients(b, j, address)
	sum.cpu += cpuTime() - before
	sum.wall += c.took
	c.end(b)
}

// clients is the other process, which has done its job.
type clients struct {
	cmd  *exec.Cmd
	in   io.Closer
	took time.Duration
}

func startClients(b *testing.B, j job, address string) *clients {
	self, err := os.Executable()
	must(b, err)
	c := &clients{cmd: exec.Command(self, "-test.run=^$", "-test.bench=^BenchmarkTLSIdle$", "-test.benchtime=1x")}
	c.cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %d %s", jobEnv, j.kind, j.clients, j.each, address))
	c.in, err = c.cmd.StdinPipe()
	must(b, err)
	out, err := c.cmd.StdoutPipe()
	must(b, err)
	must(b, c.cmd.Start())
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if took, ok := strings.CutPrefix(lines.Text(), jobReady); ok {
			c.took, err = time.ParseDuration(took)
			must(b, err)
			return c
		}
	}
	b.Fatalf("the clients ended: %v", lines.Err())
	return nil
}

func (c *clients) end(b *testing.B) {
	must(b, c.in.Close())
	must(b, c.cmd.Wait())
}

// isChild does the job when this is the other process.
func isChild(b *testing.B) bool {
	spec, child := os.LookupEnv(jobEnv)
	if !child {
		return false
	}
	var j job
	var address string
	_, err := fmt.Sscan(spec, &j.kind, &j.clients, &j.each, &address)
	must(b, err)
	open := make([]*tls.Conn, j.clients)
	if j.kind != "shake" {
		for i := range open {
			open[i], err = benchClient(address)
			must(b, err)
			defer open[i].Close()
		}
	}
	start := time.Now()
	var all sync.WaitGroup
	for _, c := range open {
		all.Go(func() {
			if err := j.do(c, address); err != nil {
				b.Error(err)
			}
		})
	}
	all.Wait()
	fmt.Printf("\n%s%s\n", jobReady, time.Since(start))
	_, _ = io.Copy(io.Discard, os.Stdin)
	return true
}

// do is the part of one client.
func (j job) do(c *tls.Conn, address string) (err error) {
	message := make([]byte, 1024)
	for i := 0; i < j.each && err == nil; i++ {
		if j.kind == "shake" {
			if c, err = benchClient(address); err == nil {
				err = c.Close()
			}
			continue
		}
		err = roundTrip(c, message)
	}
	return err
}

// benchClient connects and makes one round trip. Why no verification: the
// authority is another process's.
func benchClient(address string) (*tls.Conn, error) {
	c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return nil, err
	}
	return c, roundTrip(c, make([]byte, 1024))
}

func roundTrip(c net.Conn, message []byte) error {
	if _, err := c.Write(message); err != nil {
		return err
	}
	_, err := io.ReadFull(c, message)
	return err
}
